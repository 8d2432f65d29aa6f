package main

import (
	"strings"
	"testing"
)

// TestPausedQueuesAreNotFresh: a live job and 306 import jobs wait in paused queues.
func TestPausedQueuesAreNotFresh(t *testing.T) {
	pool := migrated(t)
	execute(t, pool, `INSERT INTO worker_processes (client_id, beat_at, acwr_write, acwr_rollout_percent) VALUES ('a', now() + interval '1 hour', 'on', 100)`)
	execute(t, pool, `INSERT INTO river.river_job (kind, queue, args, max_attempts) SELECT 'activity_ingest', CASE WHEN i > 1 THEN 'ingest_bulk' ELSE 'ingest' END, '{}', 25 FROM generate_series(1, 307) AS i`)
	enqueue(t, "status").want(t, 0, "Fresh, and imports go on. 1 live job is not worked yet, the oldest ", " 306 import jobs are not worked yet, the oldest ")
	execute(t, pool, `INSERT INTO river.river_queue (name, paused_at, updated_at) VALUES ('ingest', now(), now()), ('ingest_bulk', now(), now())`)
	got := enqueue(t, "status")
	got.want(t, 0, "Paused, and jobs wait. 1 live job is not worked yet, ", "307 jobs wait in paused queues: ingest, ingest_bulk.\n",
		"warning: Queue ingest is paused since ", ", and 1 job waits in it. ", ", and 306 jobs wait in it. ")
	if strings.Contains(got.stdout, "Fresh") {
		t.Error("status says Fresh although the queues are paused")
	}
}

// TestCancelledJobsAreSaid: like discarded ones.
func TestCancelledJobsAreSaid(t *testing.T) {
	operated(t)
	enqueue(t, "status").want(t, 0, "warning: 1 job was cancelled within a day, and not worked.", "warning: 1 job was discarded within a day", "CANCELLED")
	enqueue(t, "status", "--json").want(t, 0, `"cancelled":[{"id":7,"kind":"activity_ingest","queue":"ingest"`, `{"state":"cancelled","jobs":1,`)
}

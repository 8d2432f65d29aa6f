package admin

import (
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
)

// Process is a worker process, as in its row.
type Process struct {
	ID        string    `json:"id"` // host, process id and a random part
	StartedAt time.Time `json:"started_at"`
	BeatAt    time.Time `json:"beat_at"`
	Alive     bool      `json:"alive"`

	// Write and RolloutPercent are its acwr.write and acwr.rollout_percent; nil
	// for a process of an older version, which does not report them.
	Write          *string `json:"acwr_write"`
	RolloutPercent *int    `json:"acwr_rollout_percent"`
}

// Alive counts the live processes.
func (s Snapshot) Alive() (n int) {
	for _, p := range s.Processes {
		if p.Alive {
			n++
		}
	}
	return n
}

// processesQuery lists live processes first, so that the limit only cuts off dead ones.
const processesQuery = `
-- name: snapshot_processes
SELECT client_id, started_at, beat_at, beat_at > clock_timestamp() - $1::interval, acwr_write, acwr_rollout_percent
FROM worker_processes
WHERE beat_at > clock_timestamp() - interval '1 day'
ORDER BY 4 DESC, started_at DESC
LIMIT 100`

// Rejects are activities that were accepted and then found invalid.
type Rejects struct {
	LastDay int64    `json:"last_day"` // up to 10,001
	Recent  []Reject `json:"recent"`   // reasons cut off after 300 characters
}

// countRejectsQuery compares with now(), for which an index can be used, unlike
// for clock_timestamp(), which is volatile.
const countRejectsQuery = `
-- name: snapshot_count_rejects
SELECT count(*) FROM (SELECT FROM ingest_rejects WHERE rejected_at > now() - interval '1 day' LIMIT $1) AS recent`

const recentRejectsQuery = `
-- name: snapshot_recent_rejects
SELECT id, job_id, user_id, activity_id, left(reason, 300), rejected_at
FROM ingest_rejects
ORDER BY id DESC
LIMIT $1`

func queueRejects(batch *pgx.Batch, s *Snapshot) {
	batch.Queue(countRejectsQuery, maxCounted+1).QueryRow(func(row pgx.Row) error { return row.Scan(&s.Rejects.LastDay) })
	batch.Queue(recentRejectsQuery, recentRows).Query(dbpool.Into(&s.Rejects.Recent))
}

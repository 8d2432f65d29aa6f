package web_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/trainingmonkey/worker/jobs"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// fill gives every part of the page something to show.
func (r *rig) fill() {
	r.Helper()
	var year []jobs.Activity
	for day := range 300 {
		if day%3 != 2 {
			year = append(year, activity(int64(day+1), 7, day))
		}
	}
	r.enqueue(year...)
	if err := r.service.Drain(r.Context()); err != nil {
		r.Fatal(err)
	}
	r.exec(`INSERT INTO ingest_rejects (job_id, user_id, activity_id, payload, reason)
		SELECT i, 7, 9876543210 + i, '{}', 'total_load_miles: must be a finite number, got 1e999' FROM generate_series(1, 12) AS i`)
	r.exec(`INSERT INTO river.river_job (state, kind, queue, args, attempt, max_attempts, finalized_at, errors)
		SELECT 'discarded', 'activity_ingest', 'ingest', '{}', 25, 25, now() - interval '3 hours' * i,
		       array[jsonb_build_object('error', 'new row for relation "activities" violates check constraint "<script>alert(1)</script>" (SQLSTATE 23514)')]
		FROM generate_series(1, 3) AS i`)
	r.exec(`INSERT INTO river.river_job (state, kind, queue, args, max_attempts, created_at, scheduled_at, attempt)
		SELECT (array['available', 'available', 'available', 'retryable', 'scheduled'])[i % 5 + 1]::river.river_job_state, 'activity_ingest',
		       (array['ingest', 'ingest_bulk'])[i % 2 + 1], '{}', 25, now() - interval '1 second' * (i % 200), now() + interval '1 minute' * (i % 5 - 2), 1
		FROM generate_series(1, 2400) AS i`)
	r.exec(`INSERT INTO river.river_queue (name, paused_at, updated_at) VALUES ('recalc_bulk', now() - interval '5 minutes', now())
		ON CONFLICT (name) DO UPDATE SET paused_at = excluded.paused_at`)
	r.exec(`INSERT INTO worker_processes (client_id, beat_at) SELECT 'worker-7f9c-' || i || '-abcdefgh', now() - interval '1 minute' * greatest(0, i - 3) FROM generate_series(1, 4) AS i`)
	r.exec(`INSERT INTO acwr_backfills (state, planned) VALUES ('running', true), ('paused', true)`)
	r.exec(`INSERT INTO acwr_backfill_chunks (backfill_id, number, users, rows, state, job_id, error)
		SELECT b.id, i, array[i], 5000, CASE WHEN i = 4 THEN 'failed' WHEN i < 60 THEN 'done' ELSE 'pending' END, (SELECT max(id) FROM river.river_job WHERE state = 'available'), CASE WHEN i = 4 THEN 'injected' END
		FROM acwr_backfills AS b, generate_series(1, 97) AS i`)
	r.exec(`UPDATE activities SET acute_chronic_ratio = 9 WHERE activity_id = 300 - 1`)
	r.exec(`ANALYZE river.river_job`)
	r.hour(57)
	r.takeSnapshot()
}

func (r *rig) takeSnapshot() {
	r.Helper()
	if err := r.watch.TakeSnapshot(r.Context()); err != nil {
		r.Fatal(err)
	}
}

// hour records work of processes that have ended, for minutes up to now, of varying
// rate and with an idle stretch.
func (r *rig) hour(minutes int) {
	r.Helper()
	r.exec(`INSERT INTO river.worker_throughput (bucket, kind, committed, failed, latencies)
		SELECT date_bin('10 seconds', now(), timestamptz 'epoch') - i * interval '10 seconds', kind, n, (i % 97 = 0)::integer,
		       array_fill(0, array[4]) || array[n / 2, n - n / 2 - n / (60 + i % 60), n / (60 + i % 60)] || array_fill(0, array[18])
		FROM generate_series(1, $1 * 6) AS i, unnest(array['activity_ingest', 'acwr_recalc']) AS kind,
		     LATERAL (SELECT (2000 + 750 * (i / 6 % 7) - 25 * (i / 6 % 11) * (i / 6 % 5)) AS n) AS made
		WHERE i / 6 NOT BETWEEN 30 AND 36`, minutes)
}

func TestStatusPage(t *testing.T) {
	t.Parallel()
	r := newRig(t, dbtest.MigratedURL(t))
	empty := r.get("/")
	if text := empty.Body.String(); empty.Code != http.StatusOK || !strings.Contains(text, "The database was not read yet.") {
		t.Errorf("before the first snapshot the page is %d:\n%s", empty.Code, text)
	}
	r.fill()
	got := r.get("/")
	text := got.Body.String()
	for _, want := range []string{
		"Late", "live jobs are not worked yet, the oldest 3 min",
		"Queue recalc_bulk is paused since", "3 jobs were discarded within a day", "12 activities were rejected within a day", "1 chunk of 97 failed",
		"&lt;script&gt;alert(1)&lt;/script&gt;", "295\u202f000 of 485\u202f000 rows", "1 chunk failed", "61 %",
		"worker-7f9c-1-abcdefgh", "1 min 0 s ago", "Jobs committed per second over the last hour, at most", `Last hour <span class="scope">all processes, `, "failed attempts</span>",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	const script = `<script src="/live.js" defer></script>`
	if strings.Count(text, script) != 1 || strings.Contains(r.get("/?refresh").Body.String(), "<script") {
		t.Error("the page must have its script, except where it reloads itself")
	}
	text = strings.Replace(text, script, "", 1)
	for _, never := range []string{"<script", "style=", "http://", "https://", "ZgotmplZ", "%!", "NaN"} {
		if strings.Contains(text, never) {
			t.Errorf("the page has %q", never)
		}
	}
	if strings.Contains(text, "http-equiv") || !strings.Contains(r.get("/?refresh").Body.String(), `<meta http-equiv="refresh" content="10">`) {
		t.Error("the page must reload itself if asked to, and only then")
	}
	if t.Failed() {
		t.Log(text)
	}
}

// TestEmptyQueuesTakeOneLine: queues with jobs and paused queues have a row each.
func TestEmptyQueuesTakeOneLine(t *testing.T) {
	t.Parallel()
	r := newRig(t, dbtest.MigratedURL(t))
	r.takeSnapshot()
	if text := r.get("/").Body.String(); !strings.Contains(text, `<p class="empty">Empty: backfill, ingest, ingest_bulk, recalc, recalc_bulk, `) || strings.Contains(text, `<th scope="col">Queue</th>`) {
		t.Errorf("queues without jobs take more than one line:\n%s", text)
	}
	r.exec(`INSERT INTO river.river_queue (name, paused_at, updated_at) VALUES ('recalc', now(), now())`)
	r.exec(`INSERT INTO river.river_job (state, kind, queue, args, max_attempts, finalized_at) VALUES ('discarded', 'activity_ingest', 'ingest_bulk', '{}', 25, now())`)
	r.takeSnapshot()
	text := r.get("/").Body.String()
	for _, want := range []string{`<p class="empty">Empty: backfill, ingest, recalc_bulk, `, `<th scope="row">ingest_bulk</th>`, `<th scope="row">recalc <span class="tag warning">paused</span></th>`} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q:\n%s", want, text)
		}
	}
}

// TestFailuresAreGrouped: by reason, and each job names its athletes.
func TestFailuresAreGrouped(t *testing.T) {
	t.Parallel()
	r := newRig(t, dbtest.MigratedURL(t))
	r.failures()
	text := r.get("/").Body.String()
	for _, want := range []string{
		`<th scope="row" class="n" data-unit="×">2</th><td class="text">user …: &lt;gone&gt; &amp; away</td>`,
		`<th scope="row" class="n" data-unit="×">3</th><td class="text">total_load_miles: got …</td>`,
		`<h2 id="retryable">Jobs that failed and are tried again</h2>`, `<a href="/river/jobs/4">4</a></th><td>activity_ingest</td><td data-before="athletes"><a href="/athlete?user=7">7</a> </td>`,
		`<td class="n" data-unit="attempts">25 of 25</td><td>in 59 min`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "class=\"scope\">the newest") {
		t.Error("the page says that it read only some of the failures")
	}
	r.exec(`INSERT INTO ingest_rejects (job_id, payload, reason) SELECT i, '{}', repeat('x', i % 30 + 1) FROM generate_series(1, 600) AS i`)
	r.takeSnapshot()
	text = r.get("/").Body.String()
	for _, want := range []string{`<h3 id="reasons-rejects">By reason <span class="scope">the newest 500</span></h3>`, "others, for other reasons."} {
		if !strings.Contains(text, want) {
			t.Errorf("with many rejects the page lacks %q:\n%s", want, text)
		}
	}
}

// TestBusyServer: one request at a time uses the database.
func TestBusyServer(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.MigratedURL(t)
	r := newRig(t, databaseURL)
	base := r.serve()
	tx, err := dbtest.Open(t, databaseURL).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(t.Context()) }()
	if _, err := tx.Exec(t.Context(), `LOCK TABLE activities IN ACCESS EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	statuses := make(chan int, 3)
	for range 3 {
		go func() {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/athlete?user=7", nil)
			if err != nil {
				statuses <- 0
				return
			}
			response, err := http.DefaultClient.Do(r)
			if err != nil {
				statuses <- 0
				return
			}
			_ = response.Body.Close()
			statuses <- response.StatusCode
		}()
	}
	for range 2 {
		if got := <-statuses; got != http.StatusServiceUnavailable {
			t.Errorf("a page that had to wait too long = %d, want 503", got)
		}
	}
	if in := r.pool.Stat().AcquiredConns(); in > 1 {
		t.Errorf("%d connections are in use by pages, want 1", in)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := <-statuses; got != http.StatusOK {
		t.Errorf("the page that used the database = %d, want 200", got)
	}
}

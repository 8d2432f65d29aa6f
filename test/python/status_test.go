package python

import (
	"bufio"
	"context"
	"crypto/rand"
	"net/url"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/migrations"
	"github.com/trainingmonkey/worker/test/dbtest"
)

const rejected = "12000000003 out_of_range trimp: This activity was not stored, because its heart-rate load cannot be that low or that high."

func TestStatus(t *testing.T) {
	t.Parallel()
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			app, pool := newApplication(t, driver), dbtest.Migrated(t)
			id := app.use(t, pool, "a_broken_one")
			want(t, app.use(t, pool, "status", id, "77"), id+" activity_ingest queued 0 3 0 0 0 None job\n77 None unknown None None None None 0 None None", "before a worker")
			drain(t, pool)
			want(t, app.use(t, pool, "status", id), id+" activity_ingest done 1 3 2 0 1 True job "+rejected, "done")
			execute(t, pool, `DELETE FROM river.river_job`)
			want(t, app.use(t, pool, "status", id), id+" None done None None None None 1 None absence "+rejected, "when the row is gone")
			want(t, app.use(t, pool, "wait_too_early"), "wait: the connection is in a transaction; commit it first, workers see its jobs only then\n"+
				"jobs still queued: 2 queued True\nTrue", "waiting")
			ways := []string{"rows_as_dicts", "autocommit"}
			if app.driver == "psycopg2" { // Debian's SQLAlchemy 1.4 has no other
				ways = append(ways, "sqlalchemy")
			}
			for _, how := range ways {
				func() {
					ctx, stop := context.WithCancel(t.Context())
					done := make(chan error, 1)
					go func() { done <- newService(t, pool).Run(ctx) }()
					defer func() {
						stop()
						if err := <-done; err != nil {
							t.Error(err)
						}
					}()
					got := app.use(t, pool, how)
					if wanted := map[string]string{"rows_as_dicts": "done 4.0", "autocommit": "done", "sqlalchemy": "6 done\n1"}[how]; got != wanted {
						t.Errorf("%s: %q, want %q", how, got, wanted)
					}
				}()
			}
			want(t, text(t, pool, `SELECT count(*)::text FROM activities`), "2", "activities: what SQLAlchemy rolled back is not there")
			execute(t, pool, `INSERT INTO activities (activity_id, user_id, date, total_load_miles) SELECT 1, 1, '2025-09-27', 5`)
			want(t, app.use(t, pool, "acwr"), "2025-09-27 4.0 5.0 ('short_history', 'no_heart_rate') True\n2025-09-27 3.94 2025-09-28 3.96 2025-09-29 3.96", "acwr")
		})
	}
}

func execute(t testing.TB, pool *dbpool.Pool, sql string) {
	t.Helper()
	if _, err := pool.Exec(context.WithoutCancel(t.Context()), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// TestTasks: tasks are enqueued while no worker runs, and waited for while one does.
func TestTasks(t *testing.T) {
	t.Parallel()
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			app, pool := newApplication(t, driver), dbtest.Migrated(t)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			command := app.command(ctx, pool.Config().ConnString(), "testdata/use.py", "tasks")
			in, out := pipes(t, command)
			want(t, line(t, out), "PENDING False False SUCCESS PENDING", "without a worker")
			work(t, pool)
			if _, err := in.Write([]byte("\n")); err != nil {
				t.Fatal(err)
			}
			want(t, line(t, out), `{"activities": 3, "rejected": 1, "rejects": [{"activity_id": 12000000003, "code": "out_of_range", "field": "trimp", "job_id": 1, `+
				`"message": "This activity was not stored, because its heart-rate load cannot be that low or that high."}], "results_written": true, "stored": 2, "unchanged": 0}`, "get()")
			want(t, line(t, out), "True True False SUCCESS True 1500 0", "states")
			want(t, line(t, out), "1", "called without delay")
			if err := command.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}

func pipes(t *testing.T, command *exec.Cmd) (in interface{ Write([]byte) (int, error) }, out *bufio.Reader) {
	t.Helper()
	command.Stderr = t.Output()
	stdin, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	return stdin, bufio.NewReader(stdout)
}

func line(t *testing.T, out *bufio.Reader) string {
	t.Helper()
	s, err := out.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(s)
}

// TestStatesInCelerysWords: of jobs that failed, were cancelled or still wait, even
// when their rows are gone.
func TestStatesInCelerysWords(t *testing.T) {
	t.Parallel()
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			app, pool := newApplication(t, driver), dbtest.Migrated(t)
			for range 4 {
				app.use(t, pool, "commit")
			}
			execute(t, pool, `UPDATE river.river_job SET state = 'discarded', finalized_at = now(), errors = ARRAY['{"error": "secret"}'::jsonb] WHERE id = 1`)
			execute(t, pool, `UPDATE river.river_job SET state = 'cancelled', finalized_at = now() WHERE id = 2`)
			execute(t, pool, `UPDATE river.river_job SET state = 'retryable', attempt = 2, scheduled_at = '2099-01-01' WHERE id = 3`)
			const ended = "FAILURE True Failed job 1 failed for good\nREVOKED True Revoked job 2 was cancelled\n"
			const others = "RETRY False StillWorking jobs still queued: 3\nPENDING False StillWorking jobs still queued: 4\nPENDING False Unknown job 9 is not known\n" +
				"RETRY False StillWorking jobs still queued: 3\nFAILURE True Failed job 1 failed for good"
			want(t, app.use(t, pool, "states", "1", "2", "3", "4", "9", "1,3", "1,2"), ended+others, "states")
			execute(t, pool, `DELETE FROM river.river_job WHERE id < 3`)
			want(t, app.use(t, pool, "states", "1", "2", "3", "4", "9", "1,3", "1,2"), ended+others, "states when the rows are gone")
		})
	}
}

// TestDocumentedApplication runs the documentation's blocks of code.
func TestDocumentedApplication(t *testing.T) {
	t.Parallel()
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			app, pool := newApplication(t, driver), dbtest.Migrated(t)
			want(t, app.use(t, pool, "background"), "PENDING PENDING", "background.py")
			drain(t, pool)
			work(t, pool)
			got := app.use(t, pool, "flask")
			want(t, got, "202 {'errors': ['activities[0]: unknown field load (did you mean total_load_miles?), got 7.5']}\n"+
				"202 [{'id': 6, 'reason': 'start_date_local: is required unless a time zone is set and start_date is given'}]\n"+
				"{'finished': True, 'rejects': [], 'states': ['done', 'done']} {'date': '2025-09-28', 'ratio': 4.0}", "app.py")
		})
	}
}

// TestRoleOfTheApplication: everything works as a role that has --enqueue-role's
// privileges and owns nothing.
func TestRoleOfTheApplication(t *testing.T) {
	t.Parallel()
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			app, pool := newApplication(t, driver), dbtest.Migrated(t)
			role := "webapp_" + strings.ToLower(rand.Text()[:10]) // roles belong to the server, which other tests use too
			execute(t, pool, `REVOKE ALL ON SCHEMA public FROM PUBLIC; CREATE ROLE `+role+` LOGIN PASSWORD 'app'`)
			t.Cleanup(func() { execute(t, pool, `DROP OWNED BY `+role+`; DROP ROLE `+role) })
			if _, err := migrations.GrantEnqueue(t.Context(), pool.Pool, dbtest.RiverSchema, role); err != nil {
				t.Fatal(err)
			}
			u, err := url.Parse(pool.Config().ConnString())
			if err != nil {
				t.Fatal(err)
			}
			u.User = url.UserPassword(role, "app")
			work(t, pool)
			app.run(t, u.String(), "testdata/use.py", "commit")
			want(t, app.run(t, u.String(), "testdata/use.py", "rows_as_dicts"), "done 4.0", "enqueue, wait, acwr")
			app.run(t, u.String(), "testdata/use.py", "flask")
		})
	}
}

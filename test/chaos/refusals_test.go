//go:build chaos

package chaos

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/internal/lane"
	"github.com/trainingmonkey/worker/jobs"
	"github.com/trainingmonkey/worker/test/dbtest"
	"github.com/trainingmonkey/worker/workers"
)

// refusedBy are the ways in which a database refuses an activity, each with the
// statement that sets it up and the change that makes a job a poison job.
var refusedBy = []struct {
	name    string
	prepare string
	spoil   func(*jobs.Activity)
	says    string // the error of a poison job
}{
	{
		"Constraint", `ALTER TABLE activities ADD CONSTRAINT injected CHECK (total_load_miles <> 666)`,
		func(a *jobs.Activity) { a.TotalLoadMiles = new(666.0) }, "23514",
	},
	{
		"NumericRange", `ALTER TABLE activities ALTER avg_temp_f TYPE numeric(4,1)`,
		func(a *jobs.Activity) { a.AvgTempF = new(123456.0) }, "22003",
	},
	{
		"IndexRowSize", `CREATE INDEX ON activities (name)`,
		func(a *jobs.Activity) { a.Name = new(randomText(4000)) }, "54000",
	},
	{
		"Policy", policyQuery,
		func(a *jobs.Activity) { a.UserID += 1000 }, "42501",
	},
	{
		"Trigger", `
		CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not this one' USING ERRCODE = 'TM001'; END $$;
		CREATE TRIGGER refuse BEFORE INSERT ON activities FOR EACH ROW WHEN (NEW.name = 'spoiled') EXECUTE FUNCTION refuse()`,
		func(a *jobs.Activity) { a.Name = new("spoiled") }, "TM001",
	},
	{
		// The application's user_id may be NULL, as it is where an athlete's id was lost.
		"LegacyNull", `
		ALTER TABLE activities ALTER user_id DROP NOT NULL;
		INSERT INTO activities (activity_id, date) SELECT id, '2024-05-05' FROM generate_series(100001, 100500) AS id`,
		func(a *jobs.Activity) { a.ActivityID += 100_000 }, "cannot scan NULL",
	},
}

// policyQuery lets the worker's role write only some users' rows.
const policyQuery = `
ALTER TABLE activities ENABLE ROW LEVEL SECURITY;
ALTER TABLE activities FORCE ROW LEVEL SECURITY;
CREATE POLICY theirs ON activities USING (true) WITH CHECK (user_id < 1000);`

// later delays the second attempt of failed jobs until the test has read them.
const later = `
CREATE FUNCTION later() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.scheduled_at = now() + interval '1 hour'; RETURN NEW; END $$;
CREATE TRIGGER later BEFORE UPDATE ON river.river_job FOR EACH ROW WHEN (NEW.errors IS NOT NULL) EXECUTE FUNCTION later()`

func randomText(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('!' + rand.IntN(90))
	}
	return string(b)
}

// TestRefusedJobs: 1, 10 and 100 of 500 jobs are refused, in every way.
func TestRefusedJobs(t *testing.T) {
	for _, by := range refusedBy {
		for _, poisoned := range []int{1, 10, 100} {
			t.Run(fmt.Sprintf("%s/%d", by.name, poisoned), func(t *testing.T) {
				r := shared(t)
				r.exec(by.prepare)
				r.exec(later)
				role := r.role()
				refuse(r, role, poisoned, by.spoil, by.says)
			})
		}
	}
}

const refusedJobs = 500

func refuse(r *rig, url string, poisoned int, spoil func(*jobs.Activity), says string) {
	enqueuer, err := jobs.NewEnqueuer(r.pool().Pool, dbtest.RiverSchema)
	if err != nil {
		r.Fatal(err)
	}
	args := make([]jobs.ActivityIngest, refusedJobs)
	for i := range args {
		a := jobs.Activity{ActivityID: int64(i + 1), UserID: int32(i%100 + 1), Date: "2025-03-01", Name: new("Run"), TotalLoadMiles: new(5.0), Trimp: new(1.0)}
		if i%(refusedJobs/poisoned) == 0 {
			spoil(&a)
		}
		args[i].Activities = []jobs.Activity{a}
	}
	if _, err := enqueuer.Ingest(r.Context(), jobs.PriorityLive, args...); err != nil {
		r.Fatal(err)
	}
	began := time.Now()
	seen, savepoints := drainOnce(r, url, poisoned)
	took := time.Since(began)

	var completed, failedOnce, stored int
	err = r.pool().QueryRow(r.Context(), `
		SELECT count(*) FILTER (WHERE state = 'completed' AND attempt = 1 AND errors IS NULL),
		       count(*) FILTER (WHERE state = 'available' AND attempt = 1 AND array_length(errors, 1) = 1 AND errors[1]->>'error' LIKE '%' || $1 || '%'),
		       (SELECT count(*) FROM activities WHERE ingest_job_id IS NOT NULL)
		FROM river.river_job WHERE kind = 'activity_ingest'`, says).Scan(&completed, &failedOnce, &stored)
	if err != nil {
		r.Fatal(err)
	}
	r.Logf("%d of %d jobs refused: %v, %d transactions, %d tries, at most %d tries and %d savepoints in a transaction",
		poisoned, refusedJobs, took.Round(time.Millisecond), seen.transactions, seen.tries, seen.maxSavepoints, savepoints)
	if completed != refusedJobs-poisoned || stored != refusedJobs-poisoned || failedOnce != poisoned {
		r.Errorf("%d completed, %d stored, %d with one error; want %d, %d, %d", completed, stored, failedOnce, refusedJobs-poisoned, refusedJobs-poisoned, poisoned)
	}
	if seen.maxSavepoints >= 64 || savepoints >= 64 {
		r.Errorf("%d tries and %d savepoints in a transaction, want fewer than 64", seen.maxSavepoints, savepoints)
	}
}

// drainOnce runs a worker in this process until every job has been tried.
func drainOnce(r *rig, url string, poisoned int) (seen *turns, savepoints int) {
	counter := &savepointCounter{}
	o := dbtest.Options(url)
	o.Tracer, o.MaxConns = counter, 25
	pool, err := dbpool.Open(r.Context(), o)
	if err != nil {
		r.Fatal(err)
	}
	defer pool.Close()
	seen = &turns{}
	logger := slog.New(slog.NewTextHandler(r.Output(), &slog.HandlerOptions{Level: slog.LevelError}))
	service, err := workers.New(r.Context(), pool, config.Default(), logger, func(string, string) lane.Observer { return seen })
	if err != nil {
		r.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(r.Context(), 30*time.Second)
	defer cancel()
	go func() {
		for ctx.Err() == nil {
			s := service.Stats().Ingest
			if s.Committed+s.Failed >= refusedJobs {
				cancel()
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	if err := service.Run(ctx); err != nil {
		r.Error(err)
	}
	return seen, counter.maxSavepoints()
}

// role creates a role with every privilege that is still subject to policies, and
// returns the database's URL for it.
func (r *rig) role() (asRole string) {
	r.Helper()
	role := "worker_" + strings.ToLower(randomLetters(10))
	r.exec(`CREATE ROLE ` + role + ` LOGIN PASSWORD 'secret'`)
	r.Cleanup(func() {
		r.exec(`DROP OWNED BY ` + role)
		r.exec(`DROP ROLE ` + role)
	})
	r.exec(`GRANT ALL ON SCHEMA public, river TO ` + role)
	r.exec(`GRANT ALL ON ALL TABLES IN SCHEMA public, river TO ` + role)
	r.exec(`GRANT ALL ON ALL SEQUENCES IN SCHEMA public, river TO ` + role)
	return r.roleURL(role, "secret")
}

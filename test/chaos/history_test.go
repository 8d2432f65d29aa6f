//go:build chaos

package chaos

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/oracle"
	"github.com/trainingmonkey/worker/jobs"
)

// workedJob is a job as stored at the end.
type workedJob struct {
	ID        int64
	Kind      string
	State     string
	Args      json.RawMessage
	Attempt   int
	Faults    int
	Created   time.Time
	Finalized *time.Time
}

// check compares every acknowledged job, and the rows that follow from them, with the
// database.
func (r *rig) check() {
	r.Helper()
	pool := r.pool()
	history := r.history(pool)
	o := outcome{scenario: r.Name()[len("Test"):], jobs: len(history)}
	known := map[int64]workedJob{}
	for _, job := range history {
		known[job.ID] = job
		if slices.Contains(r.injected, job.ID) {
			continue
		}
		if job.State != "completed" {
			o.lost++
			r.Errorf("job %d (%s) is %s", job.ID, job.Kind, job.State)
		}
		if job.Faults > 0 || job.Attempt != 1 {
			r.Errorf("job %d spent an attempt: attempt %d with %d errors", job.ID, job.Attempt, job.Faults)
		}
	}
	for _, id := range r.load.acknowledged() {
		if _, exists := known[id]; !exists {
			o.lost++
			r.Errorf("job %d was acknowledged and is gone", id)
		}
	}
	r.checkRows(pool, history)
	wrong, total, err := oracle.Check(r.Context(), pool)
	if err != nil {
		r.Fatal(err)
	}
	if total > 0 {
		r.Errorf("%d rows differ from the oracle, the first: %s", total, wrong[0])
	}
	r.measure(&o, history)
	record(o)
}

func (r *rig) history(pool *dbpool.Pool) []workedJob {
	r.Helper()
	rows, err := pool.Query(r.Context(), `
		SELECT id, kind, state::text, args, attempt, coalesce(array_length(errors, 1), 0), created_at, finalized_at
		FROM river.river_job ORDER BY id`)
	if err != nil {
		r.Fatal(err)
	}
	history, err := pgx.CollectRows(rows, pgx.RowToStructByPos[workedJob])
	if err != nil {
		r.Fatal(err)
	}
	return history
}

// version is what distinguishes two versions of an activity.
type version struct {
	user        int32
	date        string
	load, trimp float32
}

// checkRows applies the jobs one by one and compares the rows. Jobs that a scenario
// injected to fail have no effect.
func (r *rig) checkRows(pool *dbpool.Pool, history []workedJob) {
	r.Helper()
	want := map[int64]version{}
	for _, job := range history {
		if job.Kind != jobs.KindActivityIngest || job.State != "completed" {
			continue
		}
		var args jobs.ActivityIngest
		if err := json.Unmarshal(job.Args, &args); err != nil {
			r.Fatal(err)
		}
		for _, a := range args.Activities {
			if a.Deleted {
				delete(want, a.ActivityID)
				continue
			}
			want[a.ActivityID] = version{a.UserID, a.Date, float32(*a.TotalLoadMiles), float32(*a.Trimp)}
		}
	}
	rejected := map[int64]bool{}
	got := map[int64]version{}
	err := r.connect(func(ctx context.Context, conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, `SELECT activity_id, user_id, date::text, total_load_miles, trimp FROM activities`)
		if err != nil {
			return err
		}
		var id int64
		var v version
		if _, err = pgx.ForEachRow(rows, []any{&id, &v.user, &v.date, &v.load, &v.trimp}, func() error {
			got[id] = v
			return nil
		}); err != nil {
			return err
		}
		rows, err = conn.Query(ctx, `SELECT activity_id FROM ingest_rejects`)
		if err != nil {
			return err
		}
		_, err = pgx.ForEachRow(rows, []any{&id}, func() error {
			rejected[id] = true
			return nil
		})
		return err
	})
	if err != nil {
		r.Fatal(err)
	}
	for id, v := range want {
		if got[id] != v && !rejected[id] {
			r.Errorf("activity %d is %+v, want %+v", id, got[id], v)
		}
	}
	for id, v := range got {
		if _, wanted := want[id]; !wanted {
			r.Errorf("activity %d is %+v, want none", id, v)
		}
	}
}

// measure fills in the times: recovery is from the end of the fault to the completion
// of the last job enqueued before that end.
func (r *rig) measure(o *outcome, history []workedJob) {
	first, last := time.Time{}, time.Time{}
	var before, during, after int
	var recovered time.Time
	for _, job := range history {
		if job.Finalized == nil {
			continue
		}
		at := *job.Finalized
		o.slowest = max(o.slowest, at.Sub(job.Created))
		if first.IsZero() || at.Before(first) {
			first = at
		}
		if at.After(last) {
			last = at
		}
		switch {
		case at.Before(r.faultBegan):
			before++
		case at.Before(r.faultEnded):
			during++
		default:
			after++
		}
		if job.Created.Before(r.faultEnded) && at.After(recovered) {
			recovered = at
		}
	}
	o.recovery = max(0, recovered.Sub(r.faultEnded))
	o.before = float64(before) / r.faultBegan.Sub(first).Seconds()
	o.during = float64(during) / max(r.faultEnded.Sub(r.faultBegan), time.Millisecond).Seconds()
	o.after = float64(after) / last.Sub(r.faultEnded).Seconds()
	r.Logf("recovery %v, slowest job %v", o.recovery, o.slowest)
}

// outcome returns what was recorded for this scenario.
func (r *rig) outcome() outcome {
	r.Helper()
	table.Lock()
	defer table.Unlock()
	for _, o := range table.lines {
		if o.scenario == r.Name()[len("Test"):] {
			return o
		}
	}
	r.Fatal("nothing was recorded")
	return outcome{}
}

// recoveredWithin fails the test if recovery took longer.
func (r *rig) recoveredWithin(limit time.Duration) {
	r.Helper()
	if o := r.outcome(); o.recovery > limit {
		r.Errorf("recovery took %v, want at most %v", o.recovery, limit)
	}
}

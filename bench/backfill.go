package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/backfill"
	"github.com/trainingmonkey/worker/jobs"
)

// resultsDigest is the same for two databases with the same results.
const resultsDigest = `
SELECT coalesce(sum(hashtextextended(concat_ws(',', activity_id, seven_day_avg_load, twentyeight_day_avg_load, seven_day_avg_trimp,
	twentyeight_day_avg_trimp, acute_chronic_ratio, trimp_acute_chronic_ratio, normalized_divergence), 0)), 0)::text
FROM activities`

// backfillSuite compares the single statement with a backfill, both computing the ACWR
// of all users, and measures a backfill that finds them up to date.
func backfillSuite(ctx context.Context, r *rig) error {
	sizes := []int{200, 2000}
	if r.short {
		sizes = []int{20}
	}
	for _, users := range sizes {
		if err := benchBackfill(ctx, r, training{users: users, every: 1, first: 1, last: 1000}); err != nil {
			return err
		}
	}
	return nil
}

func benchBackfill(ctx context.Context, r *rig, t training) error {
	template, err := r.migrated(ctx, r.worker)
	if err != nil {
		return err
	}
	r.say("backfill: storing %d activities", t.amount())
	if err := t.store(ctx, r, template); err != nil {
		return err
	}
	updated, want, err := r.updated(ctx, template)
	if err != nil {
		return err
	}
	check := func(ctx context.Context, pool *dbpool.Pool) (fault string, err error) {
		var digest string
		if err := pool.QueryRow(ctx, resultsDigest).Scan(&digest); err != nil || digest == want {
			return "", err
		}
		return "the results differ from those of the UPDATE", nil
	}
	var contestants []contestant
	for _, c := range []struct {
		name, template string
		run            func(ctx context.Context, database string) (outcome, error)
	}{
		{"set_based_update", template, r.update},
		{"backfill_first", template, r.backfill},
		{"backfill_second", updated, r.backfill},
	} {
		contestants = append(contestants, contestant{
			name: fmt.Sprintf("%s_%dk", c.name, t.amount()/1000), template: c.template, amount: t.amount(), run: c.run, check: check,
		})
	}
	scores, err := r.compete(ctx, contestants...)
	if err != nil {
		return err
	}
	for i, s := range scores {
		var beside []figure
		if i > 0 {
			beside = append(beside,
				figure{"time_of_update", "%.2f × the time of the UPDATE", scores[0].times(s)},
				figure{"peak_rss_mb", "worker's memory at most %.0f MB", s.memory()})
		}
		r.results = append(r.results, s.result(beside...))
	}
	return r.dropTemplates(ctx, contestants)
}

// updated returns a copy of template after the statement, and the digest of its results.
func (r *rig) updated(ctx context.Context, template string) (database, digest string, err error) {
	if database, err = r.database(ctx, template); err != nil {
		return "", "", err
	}
	if _, err := r.update(ctx, database); err != nil {
		return "", "", err
	}
	if err := r.exec(ctx, database, `VACUUM ANALYZE activities`); err != nil {
		return "", "", err
	}
	pool, err := r.open(ctx, database)
	if err != nil {
		return "", "", err
	}
	defer pool.Close()
	return database, digest, pool.QueryRow(ctx, resultsDigest).Scan(&digest)
}

func (r *rig) update(ctx context.Context, database string) (o outcome, err error) {
	pool, err := r.open(ctx, database)
	if err != nil {
		return o, err
	}
	defer pool.Close()
	started := time.Now()
	_, err = pool.Exec(ctx, setBasedUpdate)
	o.seconds = time.Since(started).Seconds()
	return o, err
}

func (r *rig) backfill(ctx context.Context, database string) (o outcome, err error) {
	worker, err := r.startWorker(ctx, database)
	if err != nil {
		return o, err
	}
	pool, err := r.open(ctx, database)
	if err != nil {
		return o, err
	}
	defer pool.Close()
	seconds, err := backfillOnce(ctx, pool)
	if err != nil {
		return o, err
	}
	o, err = worker.end()
	o.seconds = seconds
	return o, err
}

// backfillOnce returns the seconds from the creation of a backfill until it is finished.
func backfillOnce(ctx context.Context, pool *dbpool.Pool) (seconds float64, err error) {
	enqueuer, err := jobs.NewEnqueuer(pool.Pool, jobs.DefaultSchema)
	if err != nil {
		return 0, err
	}
	var id int64
	err = pool.InTx(ctx, func(ctx context.Context, tx pgx.Tx) (err error) {
		id, err = backfill.Create(ctx, tx, enqueuer, backfill.Scope{}, false)
		return err
	})
	if err != nil {
		return 0, err
	}
	for {
		b, err := backfill.Get(ctx, pool, jobs.DefaultSchema, id)
		switch {
		case err != nil:
			return 0, err
		case b.State == backfill.Finished && b.FailedChunks > 0:
			return 0, fmt.Errorf("%d chunks failed", b.FailedChunks)
		case b.State == backfill.Finished:
			return b.EndedAt.Sub(b.CreatedAt).Seconds(), nil
		}
		time.Sleep(100 * time.Millisecond)
	}
}

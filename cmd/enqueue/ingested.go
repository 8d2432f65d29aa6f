package main

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/jobs"
)

// ingested is the result of an import. The outcomes of the activities are only known with
// --wait, otherwise null.
type ingested struct {
	Activities    int     `json:"activities"`
	Users         int     `json:"users"`
	From          string  `json:"from"` // dates, empty without activities
	To            string  `json:"to"`
	Unloaded      int     `json:"without_load"` // left out
	Invalid       int     `json:"invalid"`      // left out
	Implausible   int     `json:"implausible"`
	LikelyDoubles int     `json:"likely_doubles"`
	DatedByUTC    bool    `json:"dated_by_utc"` // no time zone was known
	JobIDs        []int64 `json:"job_ids"`

	New        *int `json:"new"`
	Changed    *int `json:"changed"`
	Unchanged  *int `json:"unchanged"` // including duplicates and activities with a newer version
	Rejected   *int `json:"rejected"`
	FailedJobs *int `json:"failed_jobs"`
}

func (a *activities) result(ids []int64) ingested {
	return ingested{
		Activities: a.count, Users: len(a.users), From: a.first, To: a.last, Unloaded: a.unloaded, Invalid: a.invalid,
		Implausible: a.implausible.count, LikelyDoubles: a.doubles.count, DatedByUTC: a.datedByUTC, JobIDs: append([]int64{}, ids...),
	}
}

// unknownQuery returns those of the activities that are not stored.
const unknownQuery = `
-- name: ingested_unknown
SELECT id FROM unnest($1::bigint[]) AS given (id) WHERE NOT EXISTS (SELECT FROM activities WHERE activity_id = id)`

// noteUnknown records which of the activities are new.
func (a *activities) noteUnknown(ctx context.Context, tx pgx.Tx, activities []jobs.Activity) error {
	ids := make([]int64, len(activities))
	for i := range activities {
		ids[i] = activities[i].ActivityID
	}
	unknown, err := dbpool.Collect(ctx, tx, "find stored activities", pgx.RowTo[int64], unknownQuery, ids)
	a.unknown = append(a.unknown, unknown...)
	return err
}

// outcomeQuery counts what the jobs wrote. A row that had the same values already
// was not written and has the id of an earlier job.
const outcomeQuery = `
-- name: ingested_outcome
SELECT count(*) FILTER (WHERE activity_id = ANY($2::bigint[])), count(*),
       (SELECT count(*) FROM ingest_rejects WHERE job_id = ANY($1::bigint[]))
FROM activities WHERE ingest_job_id = ANY($1::bigint[])`

// outcome adds the outcomes of the activities to the result.
func (a *activities) outcome(ctx context.Context, pool *dbpool.Pool, result *ingested) error {
	var created, written, rejected int
	if err := pool.QueryRow(ctx, outcomeQuery, result.JobIDs, a.unknown).Scan(&created, &written, &rejected); err != nil {
		return fmt.Errorf("count what was stored: %w", err)
	}
	changed, unchanged := written-created, max(0, a.count-a.deleted-written-rejected)
	result.New, result.Changed, result.Unchanged, result.Rejected = &created, &changed, &unchanged, &rejected
	return nil
}

// outcome describes the outcomes of the activities.
func (r *ingested) outcome() string {
	return fmt.Sprintf("%d new, %d changed, %d unchanged, %d rejected", *r.New, *r.Changed, *r.Unchanged, *r.Rejected)
}

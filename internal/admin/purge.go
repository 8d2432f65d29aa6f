package admin

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Holding counts the rows of one table that belong to an athlete.
type Holding struct {
	Table   string `json:"table"`
	Rows    int64  `json:"rows"`    // to be removed by a purge; in river_job, jobs whose arguments name the athlete
	Removed int64  `json:"removed"` // so far
}

// Holdings counts everything that is stored about an athlete.
type Holdings struct {
	Tables    []Holding // all that a purge searches, even without rows
	AuditRows int64     // to be retained
}

// Rows returns the number of rows that a purge removes.
func (h Holdings) Rows() (rows int64) {
	for _, t := range h.Tables {
		rows += t.Rows
	}
	return rows
}

// purgedTables are the tables that purge_athlete reports, in the order of
// display; river_job comes last.
var purgedTables = []string{"activities", "ingest_versions", "ingest_rejects", "acwr_settings", "user_tokens", "token_audit_log"}

const jobsTable = "river_job"

// holdingsQuery counts a user's rows that purge_athlete removes, in the order of
// purgedTables, and then the audit rows that it retains.
const holdingsQuery = `
-- name: admin_holdings
SELECT (SELECT count(*) FROM activities WHERE user_id = $1),
       (SELECT count(*) FROM ingest_versions WHERE user_id = $1),
       (SELECT count(*) FROM ingest_rejects
        WHERE user_id = $1 OR user_id IS NULL AND (payload @> jsonb_build_object('user_id', $1::int) OR payload @> jsonb_build_object('user_id', $1::int::text))),
       (SELECT count(*) FROM acwr_settings WHERE user_id = $1),
       (SELECT count(*) FROM user_tokens WHERE user_id = $1),
       count(*) FILTER (WHERE goes), count(*) FILTER (WHERE NOT goes)
FROM (
	SELECT coalesce($2::interval = interval '0' OR timestamp < now() - $2::interval, false) AS goes FROM token_audit_log WHERE user_id = $1
) AS audit`

// Holdings counts the rows that a purge of an athlete would remove. It only reads.
// Audit rows younger than retention are retained; nil retains all. searched is called
// with the number of jobs searched so far.
func (o *Actions) Holdings(ctx context.Context, user int32, retention *time.Duration, searched func(jobs int64)) (h Holdings, err error) {
	rows := make([]int64, len(purgedTables))
	targets := make([]any, 0, len(rows)+1)
	for i := range rows {
		targets = append(targets, &rows[i])
	}
	if err := o.pool.QueryRow(ctx, holdingsQuery, user, retention).Scan(append(targets, &h.AuditRows)...); err != nil {
		return h, fmt.Errorf("count what there is of user %d: %w", user, err)
	}
	for i, table := range purgedTables {
		h.Tables = append(h.Tables, Holding{Table: table, Rows: rows[i]})
	}
	jobs, err := o.river.JobsOfUser(ctx, o.pool, user, searched)
	h.Tables = append(h.Tables, Holding{Table: jobsTable, Rows: jobs})
	return h, err
}

const purgeQuery = `
-- name: admin_purge
SELECT {schema}.purge_athlete($1, $2)`

const (
	// inHandPause is the pause between two calls while only jobs that are being worked
	// are left.
	inHandPause = 100 * time.Millisecond
	// maxInHand is longer than a worker takes for a job, and than River takes to return
	// a killed worker's job to its queue.
	maxInHand = 2 * time.Minute
)

// Purge removes everything stored about an athlete, in portions of one transaction
// each. From the first portion on, jobs enqueued earlier do nothing for the athlete.
// After an interruption it can be called again. removed is called after every portion
// with the removed rows by table and the number of jobs that are being worked, which a
// later portion removes.
func (o *Actions) Purge(ctx context.Context, user int32, retention *time.Duration, removed func(rows map[string]int64, inHand int)) error {
	for lastProgress := time.Now(); ; {
		var portion struct {
			Done    bool             `json:"done"`
			Removed map[string]int64 `json:"removed"`
			InHand  int              `json:"in_hand"`
		}
		err := o.pool.InTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
			return tx.QueryRow(ctx, o.river.SQL(purgeQuery), user, retention).Scan(&portion)
		})
		if err != nil {
			return fmt.Errorf("purge user %d: %w", user, err)
		}
		removed(portion.Removed, portion.InHand)
		switch now := time.Now(); {
		case portion.Done:
			return nil
		case portion.InHand == 0:
			lastProgress = now
			continue
		case now.Sub(lastProgress) > maxInHand:
			return fmt.Errorf("purge user %d: jobs that name the athlete are still being worked: %d of them, for %v; run the same again", user, portion.InHand, maxInHand)
		}
		select {
		case <-time.After(inHandPause):
		case <-ctx.Done():
			return fmt.Errorf("purge user %d: %w", user, ctx.Err())
		}
	}
}

package workers

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/acwr"
	"github.com/trainingmonkey/worker/internal/trainingload"
	"github.com/trainingmonkey/worker/jobs"
)

// TRIMPChange is an activity whose TRIMP differs from what its averages give.
type TRIMPChange struct {
	ActivityID int64   `json:"activity_id"`
	Date       string  `json:"date"` // YYYY-MM-DD
	Was        float64 `json:"was"`
	TRIMP      float64 `json:"trimp"`
}

// TRIMPs is the result of a recomputation of TRIMPs.
type TRIMPs struct {
	Averages int           `json:"averages"` // activities whose TRIMP comes from the average heart rate
	Unusable int           `json:"unusable"` // of those: without a heart rate or a duration
	Changed  int           `json:"changed"`  // of those: whose TRIMP differs
	Examples []TRIMPChange `json:"examples"` // a few of the changed, by id, never nil
	JobIDs   []int64       `json:"job_ids"`  // of the recalculations, never nil
}

// shownChanges is how many changes are shown one by one.
const shownChanges = 10

// trimpPortion is how many activities one transaction reads, so that workers
// wait for the athlete's lock for a few milliseconds only.
const trimpPortion = 500

// trimpRange selects a user's TRIMPs between two dates, to be recomputed with a heart rate.
type trimpRange struct {
	user      int32
	from, to  *time.Time
	heartRate trainingload.HeartRate
	enqueuer  *jobs.Enqueuer // of the recalculations; nil for a preview
}

// PreviewTRIMPs returns what RecomputeTRIMPs would change. It only reads.
func PreviewTRIMPs(ctx context.Context, pool *dbpool.Pool, user int32, from, to *time.Time, heartRate trainingload.HeartRate) (TRIMPs, error) {
	return trimpRange{user, from, to, heartRate, nil}.each(ctx, pool)
}

// RecomputeTRIMPs recomputes a user's TRIMPs whose method is the average heart rate from
// the stored averages, and enqueues the recalculation in the same transactions. It keeps
// the versions of activities, so versions enqueued later still win. After an interruption
// it can be called again.
func RecomputeTRIMPs(ctx context.Context, pool *dbpool.Pool, enqueuer *jobs.Enqueuer, user int32, from, to *time.Time, heartRate trainingload.HeartRate) (TRIMPs, error) {
	return trimpRange{user, from, to, heartRate, enqueuer}.each(ctx, pool)
}

// trimpRow is an activity with a TRIMP from the average heart rate.
type trimpRow struct {
	id         int64
	date       time.Time
	minutes    *float32
	heartRate  *float32
	was        *float32
	version    int64
	recomputed float64
}

// trimpRowsQuery pages by key, so that no activity is read twice, whatever
// changes meanwhile.
const trimpRowsQuery = `
-- name: trimp_rows
SELECT activity_id, date, duration_minutes, avg_heart_rate, trimp, coalesce(ingest_job_id, 0)
FROM activities
WHERE user_id = $1 AND activity_id > $2 AND trimp_calculation_method = $3
  AND date BETWEEN coalesce($4::date, '-infinity') AND coalesce($5::date, 'infinity') AND isfinite(date)
ORDER BY activity_id
LIMIT $6`

// each processes the portions, each in a transaction, which takes the athlete's lock
// unless it is a preview.
func (t trimpRange) each(ctx context.Context, pool *dbpool.Pool) (all TRIMPs, err error) {
	all = TRIMPs{Examples: []TRIMPChange{}, JobIDs: []int64{}}
	for after := int64(0); ; {
		var rows, changed []trimpRow
		var jobIDs []int64
		unusable := 0
		err := pool.InTx(ctx, func(ctx context.Context, tx pgx.Tx) (err error) {
			if t.enqueuer != nil {
				b := &pgx.Batch{}
				b.Queue(`SET LOCAL trainingmonkey.worker = 'on'`) // so that change capture does not enqueue the recalculation, too
				queueUserLocks(b, []int32{t.user}, nil)
				if err := tx.SendBatch(ctx, b).Close(); err != nil {
					return err
				}
			}
			if rows, err = t.read(ctx, tx, after); err != nil {
				return err
			}
			changed, unusable = t.recompute(rows)
			if t.enqueuer == nil || len(changed) == 0 {
				return nil
			}
			jobIDs, err = t.write(ctx, tx, changed)
			return err
		})
		if err != nil {
			return all, fmt.Errorf("recompute the TRIMPs of user %d: %w", t.user, err)
		}
		all.Averages, all.Unusable, all.Changed = all.Averages+len(rows), all.Unusable+unusable, all.Changed+len(changed)
		all.JobIDs = append(all.JobIDs, jobIDs...)
		for _, row := range changed[:min(len(changed), shownChanges-len(all.Examples))] {
			all.Examples = append(all.Examples, TRIMPChange{row.id, row.date.Format(time.DateOnly), decimal(row.was), row.recomputed})
		}
		if len(rows) < trimpPortion {
			return all, nil
		}
		after = rows[len(rows)-1].id
	}
}

func (t trimpRange) read(ctx context.Context, tx pgx.Tx, after int64) ([]trimpRow, error) {
	found, _ := tx.Query(ctx, trimpRowsQuery, t.user, after, methodAverage, t.from, t.to, trimpPortion)
	return pgx.CollectRows(found, func(row pgx.CollectableRow) (r trimpRow, err error) {
		return r, row.Scan(&r.id, &r.date, &r.minutes, &r.heartRate, &r.was, &r.version)
	})
}

// halfOfDuration is half a unit of a stored duration's last digit, in minutes: an
// import rounds the duration after it has computed the TRIMP.
const halfOfDuration = 0.005

// recompute returns the rows whose TRIMP differs by more than the rounding of the
// duration explains, and the number of rows without a heart rate or a duration.
func (t trimpRange) recompute(rows []trimpRow) (changed []trimpRow, unusable int) {
	for _, row := range rows {
		if decimal(row.minutes) <= 0 || decimal(row.heartRate) <= 0 {
			unusable++
			continue
		}
		trimp := func(minutes float64) float64 { return trainingload.TRIMP(minutes, decimal(row.heartRate), t.heartRate) }
		minutes, was := decimal(row.minutes), decimal(row.was)
		if row.was == nil || was < trimp(minutes-halfOfDuration) || was > trimp(minutes+halfOfDuration) {
			row.recomputed = trimp(minutes)
			changed = append(changed, row)
		}
	}
	return changed, unusable
}

// decimal returns the shortest decimal that identifies the column's value, as
// the import had it, and 0 for NULL.
func decimal(x *float32) float64 { return acwr.Decimal(orZero(x)) }

// writeTRIMPsQuery skips rows whose averages changed since they were read: the
// application does not take the athlete's lock.
const writeTRIMPsQuery = `
-- name: write_trimps
UPDATE activities AS a SET trimp = new.trimp
FROM unnest($1::bigint[], $2::real[], $3::real[], $4::real[]) AS new (activity_id, trimp, minutes, heart_rate)
WHERE a.activity_id = new.activity_id AND a.user_id = $5 AND a.trimp_calculation_method = $6
  AND a.duration_minutes = new.minutes AND a.avg_heart_rate = new.heart_rate`

// recordedLayersQuery reads the layers that are kept so that an older version can be
// placed between them.
const recordedLayersQuery = `
-- name: read_recorded_layers
SELECT activity_id, layers FROM ingest_versions WHERE user_id = $1 AND activity_id = ANY($2::bigint[]) AND layers IS NOT NULL`

const writeLayersQuery = `
-- name: write_recorded_layers
UPDATE ingest_versions AS v SET layers = new.layers
FROM unnest($2::bigint[], $3::jsonb[]) AS new (activity_id, layers)
WHERE v.user_id = $1 AND v.activity_id = new.activity_id`

func (t trimpRange) write(ctx context.Context, tx pgx.Tx, changed []trimpRow) ([]int64, error) {
	ids, trimps := make([]int64, len(changed)), make([]float32, len(changed))
	minutes, heartRates := make([]float32, len(changed)), make([]float32, len(changed))
	byID := make(map[int64]trimpRow, len(changed))
	days := make([]int32, len(changed))
	for i, row := range changed {
		ids[i], trimps[i], minutes[i], heartRates[i] = row.id, float32(row.recomputed), *row.minutes, *row.heartRate
		byID[row.id] = row
		days[i] = toDays(row.date)
	}
	if _, err := tx.Exec(ctx, writeTRIMPsQuery, ids, trimps, minutes, heartRates, t.user, methodAverage); err != nil {
		return nil, err
	}
	if err := t.writeLayers(ctx, tx, byID, ids); err != nil {
		return nil, err
	}
	ranges := recalcRanges(t.user, days)
	if len(ranges) == 0 {
		return nil, nil
	}
	id, err := t.enqueuer.RecalcTx(ctx, tx, jobs.PriorityLive, jobs.ACWRRecalc{Ranges: ranges})
	return []int64{id}, err
}

// writeLayers writes the new TRIMPs into the recorded versions of the rows, because
// otherwise an older version that comes late would restore the old TRIMPs.
func (t trimpRange) writeLayers(ctx context.Context, tx pgx.Tx, changed map[int64]trimpRow, ids []int64) error {
	found, _ := tx.Query(ctx, recordedLayersQuery, t.user, ids)
	var id int64
	var recorded *layered
	var activityIDs []int64
	var all []*layered
	_, err := pgx.ForEachRow(found, []any{&id, &recorded}, func() error {
		if row := changed[id]; recorded.Row == row.version {
			t.relayer(recorded, row)
			activityIDs, all = append(activityIDs, id), append(all, recorded)
		}
		recorded = nil // the next row must not be read into it
		return nil
	})
	if err != nil || len(all) == 0 {
		return err
	}
	_, err = tx.Exec(ctx, writeLayersQuery, t.user, activityIDs, all)
	return err
}

func (t trimpRange) relayer(recorded *layered, row trimpRow) {
	if below := &recorded.Below; below.Method == methodAverage && below.TRIMP != nil && row.was != nil && *below.TRIMP == *row.was {
		below.TRIMP = new(float32(row.recomputed))
	}
	for _, l := range recorded.Layers {
		a := l.Activity
		if a == nil || a.Trimp == nil || orZero(a.TrimpCalculationMethod) != methodAverage || a.AvgHeartRate == nil || a.DurationMinutes == nil {
			continue
		}
		trimp := trainingload.TRIMP(*a.DurationMinutes, *a.AvgHeartRate, t.heartRate)
		a.Trimp = &trimp
	}
}

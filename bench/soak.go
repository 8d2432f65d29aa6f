package main

import (
	"context"
	"errors"
	"time"
)

// soakRate is of activities a second, each in a job of its own.
const soakRate = 2000

// soakIntervals is how many parts of a soak are measured apart. Completed jobs are kept for
// six of them, so that most of the time as many are deleted as arrive.
const soakIntervals = 24

// soakedQuery measures what vacuum keeps small.
const soakedQuery = `
SELECT n_dead_tup, autovacuum_count, pg_table_size(relid), pg_indexes_size(relid), n_live_tup
FROM pg_stat_user_tables WHERE relid = 'river.river_job'::regclass`

// soaked is the queue's table at the end of an interval, and the latency within it.
type soaked struct {
	latency
	dead, vacuums, table, indexes, rows float64
}

// soakSuite has activities arrive steadily, for as long as -for says, with the server's own
// autovacuum settings for the queue's table and with others.
func soakSuite(ctx context.Context, r *rig) error {
	during := r.during
	if r.short {
		during = 12 * time.Second
	}
	template, err := r.migrated(ctx, r.worker)
	if err != nil {
		return err
	}
	for _, settings := range []struct{ name, table string }{
		{"soak_server_defaults", ""},
		{"soak_vacuum_at_1_percent", "autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.02"},
	} {
		intervals, err := r.soak(ctx, settings.name, template, settings.table, during)
		if err != nil {
			return err
		}
		r.addSoak(settings.name, intervals)
	}
	return r.drop(ctx, template)
}

func (r *rig) soak(ctx context.Context, name, template, settings string, during time.Duration) (intervals []soaked, err error) {
	database, err := r.database(ctx, template)
	if err != nil {
		return nil, err
	}
	if settings != "" {
		if err := r.exec(ctx, database, "ALTER TABLE river.river_job SET ("+settings+")"); err != nil {
			return nil, err
		}
	}
	interval, retention := during/soakIntervals, max(during/4, time.Minute)
	worker, err := r.startWorker(ctx, database, "TMWORKER_RIVER_COMPLETED_RETENTION="+retention.String())
	if err != nil {
		return nil, err
	}
	pool, err := r.open(ctx, database)
	if err != nil {
		return nil, err
	}
	defer pool.Close()
	a, err := newArrivals(pool)
	if err != nil {
		return nil, err
	}
	a.athletes = 20_000
	for range soakIntervals {
		var s soaked
		if s.latency, err = a.measure(ctx, soakRate, interval); err != nil {
			break
		}
		if err = pool.QueryRow(ctx, soakedQuery).Scan(&s.dead, &s.vacuums, &s.table, &s.indexes, &s.rows); err != nil {
			break
		}
		intervals = append(intervals, s)
		r.say("%s after %v: p50 %.1f ms, p99 %.1f ms; %.0f rows, %.0f dead, %.0f vacuums, table %.0f MB, indexes %.0f MB",
			name, time.Duration(len(intervals))*interval, s.p50, s.p99, s.rows, s.dead, s.vacuums, s.table/1e6, s.indexes/1e6)
	}
	_, ended := worker.end()
	if err := errors.Join(err, ended); err != nil {
		return nil, err
	}
	return intervals, r.drop(ctx, database)
}

// addSoak reports the latencies of the intervals, and what became of the queue's table.
func (r *rig) addSoak(name string, intervals []soaked) {
	latencies := make([]latency, len(intervals))
	maxDead := 0.0
	for i, s := range intervals {
		latencies[i] = s.latency
		maxDead = max(maxDead, s.dead)
	}
	last := intervals[len(intervals)-1]
	third := len(intervals) / 3
	r.addLatency(name, latencies,
		figure{"p99_of_first_third", "p99 of the last third %.2f × that of the first", medianBy(latencies[len(latencies)-third:], p99) / medianBy(latencies[:third], p99)},
		figure{"max_dead", "at most %.0f dead rows", maxDead},
		figure{"vacuums", "%.0f vacuums", last.vacuums},
		figure{"table_mb", "table %.0f MB", last.table / 1e6},
		figure{"indexes_mb", "indexes %.0f MB", last.indexes / 1e6})
}

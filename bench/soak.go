package main

import (
	"context"
	"errors"
	"sync"
	"time"
)

const (
	// soakRate is in activities per second, each in its own job.
	soakRate = 2000
	// soakBatch is how many of them are enqueued in one transaction, as a
	// synchronization does. It leaves the processor to the worker.
	soakBatch = 10
	// soakIntervals is the number of intervals of a soak, measured separately.
	soakIntervals = 24
	// soakRetention is how many intervals completed jobs are kept, so that most of the
	// time as many jobs are deleted as arrive.
	soakRetention = 3
)

// soakedQuery measures what vacuum keeps small.
const soakedQuery = `
SELECT n_dead_tup, autovacuum_count, pg_table_size(relid), pg_indexes_size(relid), n_live_tup
FROM pg_stat_user_tables WHERE relid = 'river.river_job'::regclass`

// soaked is the queue's table at the end of an interval, and the latency within it.
type soaked struct {
	latency
	dead, vacuums, table, indexes, rows float64
}

// soak is a worker on its own database.
type soak struct {
	name      string
	change    string // to the queue's table
	database  string
	worker    *process
	arrivals  *arrivals
	intervals []soaked
}

// soakSuite has activities arrive steadily, for the duration of -for, with the
// autovacuum settings that migrations give the queue's table and, concurrently, with
// the server's settings.
func soakSuite(ctx context.Context, r *rig) error {
	during := r.during
	if r.short {
		during = 12 * time.Second
	}
	template, err := r.migrated(ctx, r.worker)
	if err != nil {
		return err
	}
	soaks := []*soak{
		{name: "soak"},
		{name: "soak_server_defaults", change: `ALTER TABLE river.river_job RESET (autovacuum_vacuum_scale_factor, autovacuum_vacuum_insert_scale_factor, autovacuum_analyze_scale_factor)`},
	}
	interval := during / soakIntervals
	for _, s := range soaks {
		if err := r.startSoak(ctx, s, template, max(soakRetention*interval, time.Minute)); err != nil {
			return err
		}
		defer s.arrivals.pool.Close()
	}
	for range soakIntervals {
		errs := make([]error, len(soaks))
		var wg sync.WaitGroup
		for i, s := range soaks {
			wg.Go(func() { errs[i] = s.measure(ctx, interval) })
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			return err
		}
		for _, s := range soaks {
			last := s.intervals[len(s.intervals)-1]
			r.say("%s after %v: p50 %.1f ms, p99 %.1f ms; %.0f rows, %.0f dead, %.0f vacuums, table %.0f MB, indexes %.0f MB",
				s.name, time.Duration(len(s.intervals))*interval, last.p50, last.p99, last.rows, last.dead, last.vacuums, last.table/1e6, last.indexes/1e6)
		}
	}
	for _, s := range soaks {
		if _, err := s.worker.end(); err != nil {
			return err
		}
		s.arrivals.pool.Close()
		if err := r.drop(ctx, s.database); err != nil {
			return err
		}
		r.addSoak(s.name, s.intervals)
	}
	return r.drop(ctx, template)
}

func (r *rig) startSoak(ctx context.Context, s *soak, template string, retention time.Duration) (err error) {
	if s.database, err = r.database(ctx, template); err != nil {
		return err
	}
	if s.change != "" {
		if err := r.exec(ctx, s.database, s.change); err != nil {
			return err
		}
	}
	if s.worker, err = r.startWorker(ctx, s.database, "TMWORKER_RIVER_COMPLETED_RETENTION="+retention.String()); err != nil {
		return err
	}
	pool, err := r.open(ctx, s.database)
	if err != nil {
		return err
	}
	if s.arrivals, err = newArrivals(pool); err != nil {
		return err
	}
	s.arrivals.athletes, s.arrivals.batch = 20_000, soakBatch
	return nil
}

// measure adds an interval.
func (s *soak) measure(ctx context.Context, during time.Duration) (err error) {
	var next soaked
	if next.latency, err = s.arrivals.measure(ctx, soakRate, during); err != nil {
		return err
	}
	if err := s.arrivals.pool.QueryRow(ctx, soakedQuery).Scan(&next.dead, &next.vacuums, &next.table, &next.indexes, &next.rows); err != nil {
		return err
	}
	s.intervals = append(s.intervals, next)
	return nil
}

// addSoak reports the latencies of the intervals and the final state of the queue's table.
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

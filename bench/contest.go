package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
)

// contestant is one way to do a suite's work.
type contestant struct {
	name     string
	template string // the database of which each run gets a copy
	amount   int    // units of work in a run; rates are in these
	run      func(ctx context.Context, database string) (outcome, error)
	// check describes any fault of the database after a run, checked exactly, or returns "".
	check func(ctx context.Context, pool *dbpool.Pool) (fault string, err error)
}

// outcome is what a run used.
type outcome struct {
	seconds float64

	// Of the whole server, set by compete.
	commits  int64
	walBytes int64

	// Of the worker's process, if there is one.
	memory     int64   // peak, in bytes
	processor  float64 // seconds
	roundTrips int64
}

// score has a contestant's outcomes of all rounds.
type score struct {
	contestant
	outcomes []outcome
	fault    string // the first found
}

// compete runs every contestant once per round. Each round begins with another
// contestant, so that none always runs after the same one.
func (r *rig) compete(ctx context.Context, contestants ...contestant) ([]*score, error) {
	scores := make([]*score, len(contestants))
	for i, c := range contestants {
		scores[i] = &score{contestant: c}
	}
	for round := range r.rounds {
		for i := range scores {
			s := scores[(round+i)%len(scores)]
			o, fault, err := r.once(ctx, s.contestant)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", s.name, err)
			}
			r.say("%s, round %d: %.2f s", s.name, round+1, o.seconds)
			s.outcomes = append(s.outcomes, o)
			if s.fault == "" && fault != "" {
				s.fault = fault
				r.say("%s is wrong: %s", s.name, fault)
			}
		}
	}
	return scores, nil
}

// once runs and checks one contestant on its own database.
func (r *rig) once(ctx context.Context, c contestant) (o outcome, fault string, err error) {
	database, err := r.database(ctx, c.template)
	if err != nil {
		return o, "", err
	}
	_, walBefore, err := r.written(ctx, database)
	if err != nil {
		return o, "", err
	}
	if o, err = c.run(ctx, database); err != nil {
		return o, "", err
	}
	commits, walAfter, err := r.written(ctx, database)
	if err != nil {
		return o, "", err
	}
	o.commits, o.walBytes = commits, walAfter-walBefore
	pool, err := r.open(ctx, database)
	if err != nil {
		return o, "", err
	}
	defer pool.Close()
	if _, err := pool.Exec(ctx, `ANALYZE`); err != nil { // so that the check is fast, too
		return o, "", err
	}
	if fault, err = c.check(ctx, pool); err != nil {
		return o, "", err
	}
	return o, fault, r.drop(ctx, database)
}

// dropTemplates drops the contestants' templates.
func (r *rig) dropTemplates(ctx context.Context, contestants []contestant) error {
	for _, c := range contestants {
		if err := r.drop(ctx, c.template); err != nil {
			return err
		}
	}
	return nil
}

// writtenQuery reads the commits of a database, which start at 0 in each copy, and the
// position in the WAL that all databases share.
const writtenQuery = `
SELECT coalesce(sum(xact_commit), 0)::bigint, pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint
FROM pg_stat_database WHERE datname = $1`

// written must be called while no session is connected to the database, because the
// server counts a session's commits when it ends.
func (r *rig) written(ctx context.Context, database string) (commits, wal int64, err error) {
	conn, err := pgx.Connect(ctx, r.server.URL("postgres"))
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = conn.Close(ctx) }()
	err = conn.QueryRow(ctx, writtenQuery, database).Scan(&commits, &wal)
	return commits, wal, err
}

// result summarizes the rounds.
func (s *score) result(beside ...figure) result {
	return newResult(s.name, s.perSecond(), s.fault == "", beside...)
}

func (s *score) perSecond() (values []float64) {
	for _, o := range s.outcomes {
		values = append(values, float64(s.amount)/o.seconds)
	}
	return values
}

// times returns by what factor s is faster than other.
func (s *score) times(other *score) float64 {
	return median(s.perSecond()) / median(other.perSecond())
}

// each returns the median of a quantity, per unit of work.
func (s *score) each(quantity func(outcome) float64) float64 {
	return s.median(quantity) / float64(s.amount)
}

func (s *score) median(quantity func(outcome) float64) float64 {
	var values []float64
	for _, o := range s.outcomes {
		values = append(values, quantity(o))
	}
	return median(values)
}

func commits(o outcome) float64    { return float64(o.commits) }
func walBytes(o outcome) float64   { return float64(o.walBytes) }
func processor(o outcome) float64  { return o.processor }
func roundTrips(o outcome) float64 { return float64(o.roundTrips) }

// memory is the maximum of all rounds, in megabytes.
func (s *score) memory() float64 {
	largest := slices.MaxFunc(s.outcomes, func(a, b outcome) int { return cmp.Compare(a.memory, b.memory) })
	return float64(largest.memory) / (1 << 20)
}

// cost returns the server's cost per unit of work.
func (s *score) cost() []figure {
	return []figure{{"commits_each", "%.2f commits each", s.each(commits)}, {"wal_bytes_each", "%.0f bytes of WAL each", s.each(walBytes)}}
}

// ofTimes returns by what factor s is faster than other, as a figure.
func (s *score) ofTimes(other *score) figure {
	return figure{"x_" + other.name, "%.2f × " + other.name, s.times(other)}
}

// named returns the score with the given name.
func named(scores []*score, name string) *score {
	return scores[slices.IndexFunc(scores, func(s *score) bool { return s.name == name })]
}

package main

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/jobs"
)

// snapshotSuite has the worker empty a long queue with and without a session that keeps a
// snapshot from before the first job until after the last, like a dump: the queue's dead
// rows cannot be removed. Single activities arrive meanwhile. All jobs are live, because
// bulk jobs would yield to the arriving ones, and their pauses would determine the pace.
func snapshotSuite(ctx context.Context, r *rig) error {
	t := training{users: 1000, every: 1, first: 1, last: 1000}
	if r.short {
		t.users, t.last = 100, 100
	}
	template, err := r.arriving(ctx, t, r.worker)
	if err != nil {
		return err
	}
	r.say("snapshot: enqueuing %d jobs", t.amount())
	if err := t.enqueue(ctx, r, template, 1); err != nil {
		return err
	}
	latencies, paces := map[bool][]latency{}, map[bool][]pace{}
	newContestant := func(name string, held bool) contestant {
		return contestant{
			name: name, template: template, amount: t.amount(), check: t.check(0),
			run: func(ctx context.Context, database string) (o outcome, err error) {
				if held {
					release, err := r.holdSnapshot(ctx, database)
					if err != nil {
						return o, err
					}
					defer release()
				}
				o, l, err := r.workBeside(ctx, database, 1)
				if err != nil {
					return o, err
				}
				p, err := r.readPace(ctx, database, jobs.QueueIngest, time.Time{}, t.amount()/10)
				latencies[held], paces[held] = append(latencies[held], l), append(paces[held], p)
				return o, err
			},
		}
	}
	scores, err := r.compete(ctx, newContestant("snapshot_none", false), newContestant("snapshot_held", true))
	if err != nil {
		return err
	}
	for i, s := range scores {
		held := i == 1
		var first, last []float64
		for _, p := range paces[held] {
			first, last = append(first, p.first), append(last, p.last)
		}
		beside := append([]figure{
			{"first_tenth_per_second", "first tenth %.0f a second", median(first)},
			{"last_tenth_per_second", "last tenth %.0f a second", median(last)},
			{"last_of_first", "last %.2f of the first", median(last) / median(first)},
		}, percentiles(latencies[held])...)
		if held {
			beside = append(beside, figure{"p99_of_without", "p99 %.2f × that without", medianBy(latencies[true], p99) / medianBy(latencies[false], p99)})
		}
		r.results = append(r.results, s.result(beside...))
	}
	return r.drop(ctx, template)
}

// holdSnapshot keeps a snapshot of a database until it is released.
func (r *rig) holdSnapshot(ctx context.Context, database string) (release func(), err error) {
	conn, err := pgx.Connect(ctx, r.server.URL(database))
	if err != nil {
		return nil, err
	}
	release = func() { _ = conn.Close(context.WithoutCancel(ctx)) }
	if _, err := conn.Exec(ctx, `BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM activities`); err != nil {
		release()
		return nil, err
	}
	return release, nil
}

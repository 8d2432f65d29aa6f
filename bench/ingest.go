package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/trainingmonkey/worker/test/commandtest"
)

// ingestSuite stores the same activities and computes their ACWR in every available way.
//
// The activities wait in the queue before the clock starts. The time of the workers and of
// plain River is by the server's clock: from the first fetch to the last commit of a job,
// recalculations included, so that neither starting a process nor enqueuing counts (see
// the suite enqueue). A connection per query, which has no queue, and the limit start from
// activities in memory. Plain River and a connection per query are so slow that they get
// only the first days of the same users.
func ingestSuite(ctx context.Context, r *rig) error {
	engine, err := commandtest.BuildEngineBeforeLanes(ctx, r.dir)
	if err != nil {
		return err
	}
	all := training{users: 1000, every: 1, first: 1, last: 100}
	some := training{users: 1000, every: 1, first: 1, last: 25}
	few := training{users: 16, every: 1, first: 1, last: 10}
	if r.short {
		all.users, some.users, some.last, few.users, few.last = 20, 20, 20, 8, 2
	}
	var arriving [4]string
	for i, at := range []struct {
		training
		binary string
	}{{all, r.worker}, {all, engine}, {some, r.worker}, {few, r.worker}} {
		if arriving[i], err = r.arriving(ctx, at.training, at.binary); err != nil {
			return err
		}
	}
	if err := enqueuePlain(ctx, r, arriving[2], some); err != nil {
		return err
	}
	contestants := []contestant{
		{name: "connection_per_query", template: arriving[3], amount: few.amount(), check: few.check(0), run: r.connectionPerQuery(1)},
		{name: "connection_per_query_8", template: arriving[3], amount: few.amount(), check: few.check(0), run: r.connectionPerQuery(8)},
		{name: "plain_river", template: arriving[2], amount: some.amount(), check: some.check(0), run: r.plainRiver},
	}
	for i, binary := range []string{r.worker, engine} {
		for _, perJob := range []int{1, 10, 100} {
			c, err := r.worked(ctx, binary, arriving[i], all, perJob)
			if err != nil {
				return err
			}
			c.name = fmt.Sprintf("%s_%d", []string{"lane", "engine"}[i], perJob)
			contestants = append(contestants, c)
		}
	}
	contestants = append(contestants, contestant{name: "limit", template: arriving[0], amount: all.amount(), check: all.check(0), run: r.limit})
	scores, err := r.compete(ctx, contestants...)
	if err != nil {
		return err
	}
	for _, s := range scores {
		r.results = append(r.results, s.result(besideIngest(s, scores)...))
	}
	return r.dropTemplates(ctx, append(contestants, contestant{template: arriving[1]}))
}

// besideIngest compares a contestant with the others. A lane is compared with the
// engine that gets the same jobs.
func besideIngest(s *score, scores []*score) []figure {
	beside := []figure{s.ofTimes(named(scores, "connection_per_query")), s.ofTimes(named(scores, "plain_river"))}
	if perJob, ok := strings.CutPrefix(s.name, "lane_"); ok {
		beside = append(beside, s.ofTimes(named(scores, "engine_"+perJob)))
	}
	beside = append(append(beside, s.ofTimes(named(scores, "limit"))), s.cost()...)
	if s.memory() > 0 {
		beside = append(beside,
			figure{"round_trips_each", "%.3f round trips each", s.each(roundTrips)},
			figure{"worker_processor_s_per_1000", "%.3f s of the worker's processor for 1,000", 1000 * s.each(processor)},
			figure{"peak_rss_mb", "worker's memory at most %.0f MB", s.memory()})
	}
	return beside
}

// arriving returns a new database, migrated by a worker, with the arriving activities of a
// training.
func (r *rig) arriving(ctx context.Context, t training, binary string) (name string, err error) {
	if name, err = r.migrated(ctx, binary); err != nil {
		return "", err
	}
	return name, t.arrive(ctx, r, name)
}

// lane is this checkout's worker, with a training's arriving activities in its queue.
func (r *rig) lane(ctx context.Context, arriving string, t training, perJob int) (c contestant, err error) {
	c, err = r.worked(ctx, r.worker, arriving, t, perJob)
	c.name = fmt.Sprintf("lane_%d", perJob)
	return c, err
}

// worked is any worker under the same conditions.
func (r *rig) worked(ctx context.Context, binary, arriving string, t training, perJob int) (c contestant, err error) {
	template, err := r.database(ctx, arriving)
	if err != nil {
		return c, err
	}
	return contestant{
		template: template, amount: t.amount(), check: t.check(0),
		run: func(ctx context.Context, database string) (outcome, error) {
			return r.workWith(ctx, binary, database, r.server.URL(database), nil)
		},
	}, t.enqueue(ctx, r, template, perJob)
}

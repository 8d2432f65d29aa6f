package main

import "context"

// retentionSuite has the worker keep completed jobs for an hour, or not at all: their
// cost is mostly WAL.
func retentionSuite(ctx context.Context, r *rig) error {
	t := training{users: 1000, every: 1, first: 1, last: 100}
	if r.short {
		t.users = 20
	}
	arriving, err := r.arriving(ctx, t, r.worker)
	if err != nil {
		return err
	}
	kept, err := r.lane(ctx, arriving, t, 1)
	if err != nil {
		return err
	}
	retained := func(name, retention string) contestant {
		c := kept
		c.name = name
		c.run = func(ctx context.Context, database string) (outcome, error) {
			return r.workWith(ctx, r.worker, database, r.server.URL(database), nil, "TMWORKER_RIVER_COMPLETED_RETENTION="+retention)
		}
		return c
	}
	scores, err := r.compete(ctx, retained("retention_1h", "1h"), retained("retention_0s", "0s"))
	if err != nil {
		return err
	}
	for _, s := range scores {
		r.results = append(r.results, s.result(append([]figure{s.ofTimes(scores[0])}, s.cost()...)...))
	}
	if err := r.drop(ctx, arriving); err != nil {
		return err
	}
	return r.drop(ctx, kept.template)
}

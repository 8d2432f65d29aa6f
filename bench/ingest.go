package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/jobs"
)

// ingestSuite has the same activities stored and their ACWR made right in every
// way there is.
//
// What arrives waits in the queue before the clock starts. The time of the
// worker, and of plain River, is by the server's clock: from the first fetch to
// the last commit of a job, recalculations included. So starting a process
// does not count, and neither does enqueuing; see the suite enqueue. A
// connection per query, which has no queue, and the limit start from activities
// in memory. Plain River and a connection per query are so slow that they get
// fewer of the activities: the first days of the same users. So does the queue
// alone, which stores nothing.
func ingestSuite(ctx context.Context, r *rig) error {
	all := training{users: 1000, every: 1, first: 1, last: 100}
	some := training{users: 1000, every: 1, first: 1, last: 25}
	few := training{users: 16, every: 1, first: 1, last: 10}
	if r.short {
		all.users, some.users, some.last, few.users, few.last = 20, 20, 20, 8, 4
	}
	var arriving [3]string
	for i, t := range []training{all, some, few} {
		var err error
		if arriving[i], err = r.arriving(ctx, t); err != nil {
			return err
		}
	}
	if err := enqueuePlain(ctx, r, arriving[1], some); err != nil {
		return err
	}
	contestants := []contestant{
		{name: "connection_per_query", template: arriving[2], amount: few.amount(), check: few.check(0), run: r.connectionPerQuery(1)},
		{name: "connection_per_query_8", template: arriving[2], amount: few.amount(), check: few.check(0), run: r.connectionPerQuery(8)},
		{name: "plain_river", template: arriving[1], amount: some.amount(), check: some.check(0), run: r.plainRiver},
		{name: "queue_alone", template: arriving[1], amount: some.amount(), check: checkCompleted(some.amount()), run: r.queueAlone},
	}
	for _, perJob := range []int{1, 10, 100} {
		c, err := r.groupCommit(ctx, arriving[0], all, perJob)
		if err != nil {
			return err
		}
		contestants = append(contestants, c)
	}
	contestants = append(contestants, contestant{name: "limit", template: arriving[0], amount: all.amount(), check: all.check(0), run: r.limit})
	standings, err := r.compete(ctx, contestants...)
	if err != nil {
		return err
	}
	baseline, plain, limit := named(standings, "connection_per_query"), named(standings, "plain_river"), named(standings, "limit")
	for _, s := range standings {
		note := fmt.Sprintf("%.0f × connection_per_query, %.2f × plain_river, %.2f of the limit; of one activity: %.2f commits, %.0f bytes of WAL",
			s.times(baseline), s.times(plain), s.times(limit), s.each(commits), s.each(walBytes))
		if s.memory() > 0 {
			note += fmt.Sprintf(", %.2f statements; of the worker: %.3f s of processor for 1,000 activities, at most %d MB",
				s.each(statements), 1000*s.each(processor), s.memory())
		}
		r.results = append(r.results, s.result(note))
	}
	return r.dropTemplates(ctx, contestants)
}

// arriving returns a new migrated database at which so much arrives.
func (r *rig) arriving(ctx context.Context, t training) (name string, err error) {
	if name, err = r.migrated(ctx); err != nil {
		return "", err
	}
	return name, t.arrive(ctx, r, name)
}

// groupCommit is the worker as it ships, with what arrives at the template in
// its queue.
func (r *rig) groupCommit(ctx context.Context, arriving string, t training, perJob int) (c contestant, err error) {
	template, err := r.database(ctx, arriving)
	if err != nil {
		return c, err
	}
	if err := t.enqueue(ctx, r, template, perJob); err != nil {
		return c, err
	}
	return contestant{
		name: fmt.Sprintf("group_commit_%d", perJob), template: template, amount: t.amount(), check: t.check(0),
		run: func(ctx context.Context, database string) (outcome, error) {
			return r.work(ctx, database, r.server.URL(database))
		},
	}, nil
}

// limitInsert stores a chunk of what is in memory.
const limitInsert = `
INSERT INTO activities (` + trainingColumns + `)
SELECT * FROM unnest($1::bigint[], $2::int[], $3::date[], $4::text[], $5::text[], $6::text[], $7::real[], $8::real[], $9::real[], $10::real[],
	$11::real[], $12::real[], $13::text[])`

// limit is what the server can do at all: one session, one transaction, no
// queue, thousands of rows in a statement, one statement for everyone's ACWR.
func (r *rig) limit(ctx context.Context, database string) (o outcome, err error) {
	pool, err := r.open(ctx, database)
	if err != nil {
		return o, err
	}
	defer pool.Close()
	activities, err := readArriving(ctx, pool)
	if err != nil {
		return o, err
	}
	started := time.Now()
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		for chunk := range slices.Chunk(activities, 1000) {
			if _, err := tx.Exec(ctx, limitInsert, columnsOf(chunk)...); err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, setBasedUpdate)
		return err
	})
	o.seconds = time.Since(started).Seconds()
	return o, err
}

// columnsOf turns activities into one array for each of trainingColumns.
func columnsOf(activities []jobs.Activity) []any {
	n := len(activities)
	ids, users, dates := make([]int64, n), make([]int32, n), make([]string, n)
	var texts [4][]*string
	for i := range texts {
		texts[i] = make([]*string, n)
	}
	var numbers [6][]*float64
	for i := range numbers {
		numbers[i] = make([]*float64, n)
	}
	for i, a := range activities {
		ids[i], users[i], dates[i] = a.ActivityID, a.UserID, a.Date
		for column, value := range []*string{a.Name, a.Type, a.SportType, a.StartTime} {
			texts[column][i] = value
		}
		for column, value := range []*float64{a.DistanceMiles, a.ElevationGainFeet, a.TotalLoadMiles, a.Trimp, a.AvgHeartRate, a.DurationMinutes} {
			numbers[column][i] = value
		}
	}
	return []any{
		ids, users, dates, texts[0], texts[1], texts[2],
		numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5], texts[3],
	}
}

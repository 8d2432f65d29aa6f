package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// callersSuite has some sessions call the SQL function that enqueues an
// activity, each call a transaction of its own, while the worker works.
func callersSuite(ctx context.Context, r *rig) error {
	t := training{users: 1000, every: 1, first: 1, last: 20}
	if r.short {
		t.users = 20
	}
	template, err := r.arriving(ctx, t, r.worker)
	if err != nil {
		return err
	}
	var contestants []contestant
	for _, sessions := range []int{1, 8, 32} {
		contestants = append(contestants, contestant{
			name: fmt.Sprintf("callers_%d", sessions), template: template, amount: t.amount(), check: t.check(0),
			run: func(ctx context.Context, database string) (outcome, error) { return r.called(ctx, database, sessions) },
		})
	}
	standings, err := r.compete(ctx, contestants...)
	if err != nil {
		return err
	}
	for _, s := range standings {
		r.results = append(r.results, s.result(s.ofTimes(standings[0])))
	}
	return r.drop(ctx, template)
}

// called returns what the calls took; the worker may take longer.
func (r *rig) called(ctx context.Context, database string, sessions int) (o outcome, err error) {
	worker, err := r.startWorker(ctx, database)
	if err != nil {
		return o, err
	}
	seconds, callErr := r.callAll(ctx, database, sessions)
	o, err = r.drain(ctx, database, nil, worker)
	o.seconds = seconds
	return o, errors.Join(callErr, err)
}

// callAll makes a call for each activity that arrives. The sessions share them.
func (r *rig) callAll(ctx context.Context, database string, sessions int) (seconds float64, err error) {
	pool, err := r.open(ctx, database)
	if err != nil {
		return 0, err
	}
	activities, err := readArriving(ctx, pool)
	pool.Close()
	if err != nil {
		return 0, err
	}
	args, conns := make([]string, len(activities)), make([]*pgx.Conn, sessions)
	for i := range activities {
		text, err := json.Marshal(activities[i : i+1])
		if err != nil {
			return 0, err
		}
		args[i] = string(text)
	}
	for i := range conns {
		if conns[i], err = pgx.Connect(ctx, r.server.URL(database)); err != nil {
			return 0, err
		}
		defer func() { _ = conns[i].Close(ctx) }()
	}
	errs := make([]error, sessions)
	var wg sync.WaitGroup
	started := time.Now()
	for session, conn := range conns {
		wg.Go(func() {
			for i := session; i < len(args) && errs[session] == nil; i += sessions {
				_, errs[session] = conn.Exec(ctx, `SELECT river.enqueue_activity_ingest($1::jsonb)`, args[i])
			}
		})
	}
	wg.Wait()
	return time.Since(started).Seconds(), errors.Join(errs...)
}

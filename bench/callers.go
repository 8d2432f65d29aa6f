package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
)

// callersSuite has several sessions call the SQL function that enqueues an activity,
// each call in its own transaction, while the worker works: next to the server, and as
// far from it as an application on another machine. Inserting a row with one number in
// the same way, without a worker, shows how the machine scales with sessions.
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
	for _, c := range []struct {
		sessions, milliseconds int
		suffix                 string
	}{{1, 0, ""}, {8, 0, ""}, {32, 0, ""}, {1, delay, "_away"}, {32, delay, "_away"}} {
		contestants = append(contestants, contestant{
			name: fmt.Sprintf("callers_%d%s", c.sessions, c.suffix), template: template, amount: t.amount(), check: t.check(0),
			run: func(ctx context.Context, database string) (outcome, error) {
				return r.called(ctx, database, c.sessions, c.milliseconds)
			},
		})
	}
	for _, sessions := range []int{1, 32} {
		contestants = append(contestants, contestant{
			name: fmt.Sprintf("bare_insert_%d", sessions), template: template, amount: t.amount(), check: checkBare(t.amount()),
			run: func(ctx context.Context, database string) (o outcome, err error) {
				if err := r.exec(ctx, database, `CREATE TABLE bare (n int)`); err != nil {
					return o, err
				}
				o.seconds, err = r.callAll(ctx, database, r.server.URL(database), `INSERT INTO bare SELECT length($1)`, sessions)
				return o, err
			},
		})
	}
	scores, err := r.compete(ctx, contestants...)
	if err != nil {
		return err
	}
	for _, s := range scores {
		baseline := "callers_1"
		switch {
		case strings.HasPrefix(s.name, "bare"):
			baseline = "bare_insert_1"
		case strings.HasSuffix(s.name, "_away"):
			baseline = "callers_1_away"
		}
		r.results = append(r.results, s.result(s.ofTimes(named(scores, baseline))))
	}
	return r.drop(ctx, template)
}

func checkBare(rows int) func(context.Context, *dbpool.Pool) (string, error) {
	return func(ctx context.Context, pool *dbpool.Pool) (fault string, err error) {
		var got int
		if err := pool.QueryRow(ctx, `SELECT count(*) FROM bare`).Scan(&got); err != nil || got == rows {
			return "", err
		}
		return fmt.Sprintf("%d rows, want %d", got, rows), nil
	}
}

// called measures the calls only; the worker may finish later.
func (r *rig) called(ctx context.Context, database string, sessions, milliseconds int) (o outcome, err error) {
	through := r.server.URL(database)
	if milliseconds > 0 {
		var stop func()
		if through, stop, err = r.away(database, milliseconds); err != nil {
			return o, err
		}
		defer stop()
	}
	worker, err := r.startWorker(ctx, database)
	if err != nil {
		return o, err
	}
	seconds, callErr := r.callAll(ctx, database, through, `SELECT river.enqueue_activity_ingest($1::jsonb)`, sessions)
	o, err = r.drain(ctx, database, nil, worker)
	o.seconds = seconds
	return o, errors.Join(callErr, err)
}

// callAll makes one call for each arriving activity. The sessions share the calls, and
// connect to through.
func (r *rig) callAll(ctx context.Context, database, through, call string, sessions int) (seconds float64, err error) {
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
		if conns[i], err = pgx.Connect(ctx, through); err != nil {
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
				_, errs[session] = conn.Exec(ctx, call, args[i])
			}
		})
	}
	wg.Wait()
	return time.Since(started).Seconds(), errors.Join(errs...)
}

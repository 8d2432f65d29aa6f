package queue

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
)

// promiseQuery promises enqueuers that the queue is polled every few milliseconds, so that
// they need not notify: transactions that notify commit one after the other. The promise
// of one process is enough, so none waits for another's.
const promiseQuery = `
-- name: promise_to_poll
UPDATE {schema}.worker_promises SET awake_until = clock_timestamp() + $2::interval
WHERE queue = (SELECT queue FROM {schema}.worker_promises WHERE queue = $1 FOR UPDATE SKIP LOCKED)`

// PromiseToPoll queues the promise that the workers of a queue need no notification for a
// while.
func (s Schema) PromiseToPoll(b *pgx.Batch, queue string, d time.Duration) {
	b.Queue(s.SQL(promiseQuery), queue, d)
}

// topic is the channel on which River's clients and the SQL functions announce new jobs.
func (s Schema) topic() string { return string(s) + ".river_insert" }

// insertPayload is the payload of a notification on topic, in a query over rows
// that have a queue.
const insertPayload = `json_build_object('queue', queue)::text`

// insertion is the payload of a notification.
type insertion struct {
	Queue string `json:"queue"`
}

// Listen calls wake with the name of each queue that gets jobs, until ctx ends.
// It reconnects after losing the connection. wake is called with "" if
// notifications may have been missed.
func (s Schema) Listen(ctx context.Context, config *pgx.ConnConfig, logger *slog.Logger, wake func(queue string)) {
	for failed := 0; ctx.Err() == nil; failed++ {
		began := time.Now()
		err := s.listen(ctx, config, wake)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > time.Minute {
			failed = 0
		}
		if failed == 0 {
			logger.WarnContext(ctx, "connection for notifications was lost; reconnecting, queues are polled meanwhile", slog.String("error", err.Error()))
		}
		select {
		case <-time.After(min(5*time.Second, 100*time.Millisecond<<min(failed, 10))):
		case <-ctx.Done():
		}
	}
}

// listenTimeout bounds connecting and LISTEN.
const listenTimeout = 10 * time.Second

// aliveInterval is how often a silent connection is pinged.
const aliveInterval = 10 * time.Second

func (s Schema) listen(ctx context.Context, config *pgx.ConnConfig, wake func(queue string)) error {
	starting, cancel := context.WithTimeout(ctx, listenTimeout)
	defer cancel()
	conn, err := pgx.ConnectConfig(starting, config)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(closing)
	}()
	if _, err := conn.Exec(starting, "LISTEN "+pgx.Identifier{s.topic()}.Sanitize()); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	wake("")
	for {
		if err := s.await(ctx, conn, wake); err != nil {
			return fmt.Errorf("listen: %w", err)
		}
	}
}

// await passes on notifications until none arrives for aliveInterval, and then
// pings the server.
func (s Schema) await(ctx context.Context, conn *pgx.Conn, wake func(queue string)) error {
	for {
		waiting, cancel := context.WithTimeout(ctx, aliveInterval)
		n, err := conn.WaitForNotification(waiting)
		cancel()
		if err != nil && waiting.Err() != nil && ctx.Err() == nil {
			asking, cancel := context.WithTimeout(ctx, aliveInterval)
			defer cancel()
			return conn.Ping(asking)
		}
		if err != nil {
			return err
		}
		var in insertion
		if json.Unmarshal([]byte(n.Payload), &in) != nil {
			in.Queue = "" // a foreign notification: poll every queue
		}
		wake(in.Queue)
	}
}

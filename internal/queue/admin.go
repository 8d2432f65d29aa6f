package queue

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"

	"github.com/trainingmonkey/worker/dbpool"
)

// Admin shows and changes jobs and queues for an operator. Its changes take row locks
// as the workers do, so it waits for a job that is being worked, and never overwrites
// its outcome.
type Admin struct {
	pool   *dbpool.Pool
	schema Schema
	client *river.Client[pgx.Tx]
}

// NewAdmin returns an Admin of the jobs in a schema.
func NewAdmin(pool *dbpool.Pool, schema Schema) (*Admin, error) {
	client, err := river.NewClient(riverpgxv5.New(pool.Pool), &river.Config{
		Schema: string(schema),
		Logger: slog.New(slog.DiscardHandler), // errors are also returned
	})
	if err != nil {
		return nil, fmt.Errorf("river client: %w", err)
	}
	return &Admin{pool: pool, schema: schema, client: client}, nil
}

// ErrNotFound is returned for the id of a job that does not exist.
var ErrNotFound = errors.New("no such row; finished jobs are removed after a while")

// States returns the states of a job, in the order in which it passes through them.
func States() (names []string) {
	for _, s := range rivertype.JobStates() {
		names = append(names, string(s))
	}
	return names
}

// unfinished is the condition that a job is still going to be worked.
const unfinished = `state IN ('available', 'pending', 'retryable', 'running', 'scheduled')`

// Package operator is what an operator does to jobs, queues and rejected
// activities, instead of typing SQL.
//
// Rule: nothing that was accepted is lost by accident. Rows are locked and
// changed in key order, in transactions short enough for the workers beside
// them; a rejected activity and the job that tries it again change places in one
// commit; and nothing old ever replaces something newer.
package operator

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/jobs"
)

// Operator acts on one database.
type Operator struct {
	pool     *dbpool.Pool
	schema   string
	client   *river.Client[pgx.Tx]
	enqueuer *jobs.Enqueuer
}

// New returns an Operator. riverSchema is where River's tables live.
func New(pool *dbpool.Pool, riverSchema string) (*Operator, error) {
	client, err := river.NewClient(riverpgxv5.New(pool.Pool), &river.Config{
		Schema: riverSchema,
		Logger: slog.New(slog.DiscardHandler), // what fails is returned as well
	})
	if err != nil {
		return nil, fmt.Errorf("operator: %w", err)
	}
	enqueuer, err := jobs.NewEnqueuer(pool.Pool, riverSchema)
	if err != nil {
		return nil, err
	}
	return &Operator{pool: pool, schema: riverSchema, client: client, enqueuer: enqueuer}, nil
}

// step is how many rows one transaction of a bulk operation changes: a few
// milliseconds in which the workers' completions may wait for their locks.
const step = 500

// query puts conditions, and then the schema of River's tables, into a query.
func (o *Operator) query(text string, w *where) string {
	return o.inSchema(strings.ReplaceAll(text, "{where}", w.String()))
}

func (o *Operator) inSchema(text string) string {
	return strings.ReplaceAll(text, "{schema}", pgx.Identifier{o.schema}.Sanitize())
}

// Package queue is the only owner of River's tables river_job and river_queue:
// no other package knows the columns, states and notifications that River and
// this worker share. A new release of River is checked against this package.
//
// Rule: a job's row is locked from the claim to the commit by the transaction
// that works it. Rows are locked and written in the order of their ids, except
// where SKIP LOCKED rules out waiting.
package queue

import (
	"strings"

	"github.com/jackc/pgx/v5"
)

// Schema is the schema that has River's tables.
type Schema string

// SQL puts the schema into a query: {schema} becomes its quoted name.
func (s Schema) SQL(query string) string {
	return strings.ReplaceAll(query, "{schema}", pgx.Identifier{string(s)}.Sanitize())
}

// JobTable is the quoted name of the table of jobs.
func (s Schema) JobTable() string { return s.SQL("{schema}.river_job") }

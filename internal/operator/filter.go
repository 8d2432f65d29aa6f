package operator

import (
	"fmt"
	"strings"
	"time"
)

// Filter selects jobs or rejects. What is empty selects all; what is given has
// to hold together.
type Filter struct {
	IDs       []int64
	Kinds     []string
	States    []string
	Queues    []string
	User      int32         // whose activities or dates the args name; a backfill's chunks name nobody
	OlderThan time.Duration // since it was enqueued, or rejected
}

// Empty reports whether the filter selects everything.
func (f Filter) Empty() bool {
	return len(f.IDs)+len(f.Kinds)+len(f.States)+len(f.Queues) == 0 && f.User == 0 && f.OlderThan == 0
}

// where gathers conditions and their arguments. Only what was asked for becomes
// part of a query, so that the planner sees which index answers it.
type where struct {
	conditions []string
	args       []any
}

// and adds a condition, in which %s stands for the argument.
func (w *where) and(condition string, arg any) {
	w.conditions = append(w.conditions, strings.ReplaceAll(condition, "%s", w.arg(arg)))
}

func (w *where) arg(arg any) string {
	w.args = append(w.args, arg)
	return fmt.Sprintf("$%d", len(w.args))
}

// String returns the conditions as they follow WHERE.
func (w *where) String() string {
	if len(w.conditions) == 0 {
		return "true"
	}
	return strings.Join(w.conditions, " AND ")
}

// jobs are the conditions on river_job. Containment is what its index on the
// args of failed jobs answers.
func (f Filter) jobs() *where {
	w := &where{}
	if len(f.IDs) > 0 {
		w.and("id = ANY(%s::bigint[])", f.IDs)
	}
	if len(f.Kinds) > 0 {
		w.and("kind = ANY(%s::text[])", f.Kinds)
	}
	if len(f.States) > 0 {
		// As a literal: the planner cannot see into a cast from text[], takes the
		// states for most of the table, and scans it.
		w.and("state = ANY(%s::{schema}.river_job_state[])", "{"+strings.Join(f.States, ",")+"}")
	}
	if len(f.Queues) > 0 {
		w.and("queue = ANY(%s::text[])", f.Queues)
	}
	if f.User != 0 {
		user := w.arg(fmt.Sprintf(`[{"user_id": %d}]`, f.User))
		w.conditions = append(w.conditions, strings.ReplaceAll(
			"(args @> jsonb_build_object('activities', %s::jsonb) OR args @> jsonb_build_object('ranges', %s::jsonb))", "%s", user))
	}
	if f.OlderThan > 0 {
		w.and("created_at < clock_timestamp() - %s::interval", f.OlderThan)
	}
	return w
}

// rejects are the conditions on ingest_rejects.
func (f Filter) rejects() *where {
	w := &where{}
	if len(f.IDs) > 0 {
		w.and("id = ANY(%s::bigint[])", f.IDs)
	}
	if f.User != 0 {
		w.and("user_id = %s", f.User)
	}
	if f.OlderThan > 0 {
		w.and("rejected_at < clock_timestamp() - %s::interval", f.OlderThan)
	}
	return w
}

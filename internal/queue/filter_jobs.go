package queue

import (
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Filter selects jobs. An empty field selects all jobs; a job has to match every
// field that is set.
type Filter struct {
	IDs       []int64
	Kinds     []string
	States    []string
	Queues    []string
	User      int32         // named in the args, with an activity or a range of dates; backfill chunks name no user
	OlderThan time.Duration // since the job was enqueued
}

// where returns the conditions of the WHERE clause, and adds their arguments to args.
// Only fields that are set become part of the query, so the planner can choose the index.
func (f Filter) where(args pgx.NamedArgs) string {
	var all []string
	and := func(condition, name string, arg any) {
		all = append(all, condition)
		args[name] = arg
	}
	if len(f.IDs) > 0 {
		and("id = ANY(@ids::bigint[])", "ids", f.IDs)
	}
	if len(f.Kinds) > 0 {
		and("kind = ANY(@kinds::text[])", "kinds", f.Kinds)
	}
	if len(f.States) > 0 {
		// As a literal: the planner cannot see into a cast from text[], assumes that the
		// states cover most of the table, and scans it.
		and("state = ANY(@states::{schema}.river_job_state[])", "states", "{"+strings.Join(f.States, ",")+"}")
	}
	if len(f.Queues) > 0 {
		and("queue = ANY(@queues::text[])", "queues", f.Queues)
	}
	if f.User != 0 {
		// The index on the args of failed jobs supports containment.
		and("(args @> jsonb_build_object('activities', @user::jsonb) OR args @> jsonb_build_object('ranges', @user::jsonb))",
			"user", fmt.Sprintf(`[{"user_id": %d}]`, f.User))
	}
	if f.OlderThan > 0 {
		and("created_at < clock_timestamp() - @older_than::interval", "older_than", f.OlderThan)
	}
	if len(all) == 0 {
		return "true"
	}
	return strings.Join(all, " AND ")
}

// filtered puts the filter's conditions into a query at {where}.
func (s Schema) filtered(query string, f Filter, args pgx.NamedArgs) string {
	return s.SQL(strings.Replace(query, "{where}", f.where(args), 1))
}

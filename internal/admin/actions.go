package admin

import (
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/queue"
	"github.com/trainingmonkey/worker/jobs"
)

// Actions acts on one database.
type Actions struct {
	pool     *dbpool.Pool
	river    queue.Schema
	enqueuer *jobs.Enqueuer
}

// NewActions returns an Actions. riverSchema is the schema of River's tables.
func NewActions(pool *dbpool.Pool, riverSchema string) (*Actions, error) {
	enqueuer, err := jobs.NewEnqueuer(pool.Pool, riverSchema)
	if err != nil {
		return nil, err
	}
	return &Actions{pool: pool, river: queue.Schema(riverSchema), enqueuer: enqueuer}, nil
}

// step is how many rows one transaction of a bulk operation changes, so that
// workers wait for its locks for a few milliseconds only.
const step = 500

// Filter selects rejects. An empty field selects all rejects; a reject has to
// match every field that is set.
type Filter struct {
	IDs       []int64
	User      int32         // whose activity it is
	OlderThan time.Duration // since the activity was rejected
}

// put inserts the conditions into a query at {where}, and adds their arguments to args.
// Only fields that are set become part of the query, so the planner can choose the index.
func (f Filter) put(query string, args pgx.NamedArgs) string {
	var all []string
	if len(f.IDs) > 0 {
		all, args["ids"] = append(all, "id = ANY(@ids::bigint[])"), f.IDs
	}
	if f.User != 0 {
		all, args["user"] = append(all, "user_id = @user"), f.User
	}
	if f.OlderThan > 0 {
		all, args["older_than"] = append(all, "rejected_at < clock_timestamp() - @older_than::interval"), f.OlderThan
	}
	if len(all) == 0 {
		all = []string{"true"}
	}
	return strings.Replace(query, "{where}", strings.Join(all, " AND "), 1)
}

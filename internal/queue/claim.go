package queue

import (
	"cmp"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Job is a claimed row of river_job. The transaction that claimed it has the
// row locked; its state is still available.
type Job struct {
	ID          int64
	Kind        string
	Args        []byte // JSON
	Attempt     int    // spent so far, not counting this one
	MaxAttempts int
	Errors      int  // attempts that ended with an error
	Marked      bool // see MarkSuspects
	Deaths      int  // processes that marked it and died
	CreatedAt   time.Time

	priority    int16
	scheduledAt time.Time
}

// Position is a place in the order of claims: priority, scheduled_at, id. The
// zero value is the beginning.
type Position struct {
	priority    int16
	scheduledAt time.Time
	id          int64
}

// Position returns the job's place in the order of claims.
func (j Job) Position() Position { return Position{j.priority, j.scheduledAt, j.ID} }

// DueAt returns when the job became due, by the server's clock.
func (j Job) DueAt() time.Time { return j.scheduledAt }

// claimColumns are the columns of Job.
const claimColumns = `id, kind, args, attempt, max_attempts, coalesce(array_length(errors, 1), 0), metadata ? '` + marksKey + `',
	CASE WHEN metadata ? '` + marksKey + `' THEN (SELECT count(*) FROM worker_processes AS p WHERE p.died_at IS NOT NULL AND metadata->'` + marksKey + `' ? p.client_id) ELSE 0 END,
	created_at, priority, scheduled_at`

// notAnothers is a condition: no other living process has marked the job. Only the process
// that marked a job works it.
func notAnothers(client string) string {
	return fmt.Sprintf(`(NOT metadata ? '`+marksKey+`' OR NOT EXISTS (
	SELECT FROM worker_processes AS p
	WHERE p.client_id <> %s AND p.died_at IS NULL AND p.beat_at > clock_timestamp() - interval '%d seconds' AND metadata->'`+marksKey+`' ? p.client_id))`,
		client, DeadAfter/time.Second)
}

// claimQuery claims from one queue, in the order of the index that River fetches
// with. It starts at a position, so that not every claim reads again the entries
// of finished jobs, which vacuum cannot remove while an old snapshot is held. A
// paused queue yields nothing. The share filters the rows of the index.
var claimQuery = `
-- name: claim_jobs
SELECT ` + claimColumns + `
FROM {schema}.river_job
WHERE state = 'available' AND queue = $1 AND (priority, scheduled_at, id) > ($2, $3, $4) AND scheduled_at <= now()
  AND NOT EXISTS (SELECT FROM {schema}.river_queue WHERE name = $1 AND paused_at IS NOT NULL)
  AND ` + notAnothers("$6") + ` AND ` + inShare("$7", "$8", "$9", "$11") + ` AND ` + inSlot("$1", "$7", "$10") + `
ORDER BY priority, scheduled_at, id
LIMIT $5
FOR UPDATE SKIP LOCKED`

// claimNewestQuery claims the newest of the jobs that athletes wait for, so that under a
// backlog they do not wait for all older ones. Which version of an activity wins does
// not depend on the order of work. It ends at a time, because a comparison of rows, as in
// claimQuery, would not end a scan that runs backward.
var claimNewestQuery = `
-- name: claim_newest_jobs
SELECT ` + claimColumns + `
FROM {schema}.river_job
WHERE state = 'available' AND queue = $1 AND priority = 1 AND scheduled_at > $2 AND scheduled_at <= now()
  AND NOT EXISTS (SELECT FROM {schema}.river_queue WHERE name = $1 AND paused_at IS NOT NULL)
  AND ` + notAnothers("$4") + ` AND ` + inShare("$5", "$6", "$7", "$9") + ` AND ` + inSlot("$1", "$5", "$8") + `
ORDER BY priority DESC, scheduled_at DESC, id DESC
LIMIT $3
FOR UPDATE SKIP LOCKED`

// Share is a part of a queue's jobs: those whose hash of a value in their arguments, such
// as the user, has in base Of the digit Part at the place Digit. If Of is 0 or 1, it is
// all jobs.
type Share struct {
	Part, Of int
	Digit    int      // place of the digit, 0 for the last one; any number is valid
	Path     []string // of the value, as in args #>> path

	// InSlot restricts claims to transactions that have the slot of this Part.
	// See TakeSlot.
	InSlot bool
}

// inShare is a condition: the job belongs to the share.
func inShare(part, of, path, divisor string) string {
	return fmt.Sprintf(`(%[2]s = 1 OR (coalesce(hashtext(args #>> %[3]s::text[]), 0) & 2147483647) / %[4]s %% %[2]s = %[1]s)`, part, of, path, divisor)
}

// divisor returns the number that makes the share's digit of a hash the last one.
func (s Share) divisor() int {
	divisors := []int{1}
	for n := s.Of; n > 1 && n <= 1<<24; n *= s.Of { // a hash has 31 bits
		divisors = append(divisors, n)
	}
	return divisors[s.Digit%len(divisors)]
}

// waitingQuery is one round trip without a transaction block, in place of a claim that
// would probably find nothing. It skips the entries of finished jobs as claimQuery does.
var waitingQuery = `
-- name: jobs_wait
SELECT EXISTS (
	SELECT FROM {schema}.river_job
	WHERE state = 'available' AND queue = $1 AND (priority, scheduled_at, id) > ($2, $3, $4) AND scheduled_at <= now()
	ORDER BY priority, scheduled_at, id
)`

// jobBeforeQuery reads jobs as claimQuery does, from the beginning or backward from a
// position, and skips those that are being worked. The lock of the row that it finds ends
// with the statement.
func jobBeforeQuery(direction string) string {
	return `
-- name: job_before
SELECT priority, scheduled_at, id
FROM {schema}.river_job
WHERE state = 'available' AND queue = $1 AND (priority, scheduled_at, id) < ($2, $3, $4) AND scheduled_at <= now()
  AND NOT EXISTS (SELECT FROM {schema}.river_queue WHERE name = $1 AND paused_at IS NOT NULL)
  AND ` + notAnothers("$5") + `
ORDER BY priority ` + direction + `, scheduled_at ` + direction + `, id ` + direction + `
LIMIT 1
FOR UPDATE SKIP LOCKED`
}

var (
	firstBeforeQuery = jobBeforeQuery("ASC")
	lastBeforeQuery  = jobBeforeQuery("DESC")
)

// byIndexQuery applies to the statements after it in the batch: see lane.Settings.
const byIndexQuery = `
-- name: by_index
SELECT set_config('enable_seqscan', 'off', true)`

// Waiting queues the check whether due jobs wait after a position. The batch must
// be sent outside a transaction.
func (s Schema) Waiting(b *pgx.Batch, queue string, after Position, waiting *bool) {
	b.Queue(byIndexQuery)
	b.Queue(s.SQL(waitingQuery), queue, after.priority, after.due(), after.id).QueryRow(func(row pgx.Row) error { return row.Scan(waiting) })
}

// JobBefore queues the search for a job before a position that a client could claim now: the
// last one, which reads nothing beyond it, or the first, which reads everything from the
// beginning. Without one, found stays as it is. The batch must be sent outside a transaction.
func (s Schema) JobBefore(b *pgx.Batch, client, queue string, position Position, first bool, found *Position) {
	query := lastBeforeQuery
	if first {
		query = firstBeforeQuery
	}
	b.Queue(byIndexQuery)
	b.Queue(s.SQL(query), queue, position.priority, position.due(), position.id, client).Query(func(rows pgx.Rows) error {
		_, err := pgx.ForEachRow(rows, []any{&found.priority, &found.scheduledAt, &found.id}, func() error { return nil })
		return err
	})
}

// due is the position's time in a form that PostgreSQL takes.
func (p Position) due() time.Time {
	if p.scheduledAt.IsZero() {
		return time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	return p.scheduledAt
}

// Claim queues the claim by a client of up to limit jobs of a share after a position. The
// jobs are appended to claimed in the order of claims when the batch is closed.
func (s Schema) Claim(b *pgx.Batch, client, queue string, share Share, after Position, limit int, claimed *[]Job) {
	b.Queue(s.SQL(claimQuery), queue, after.priority, after.due(), after.id, limit, client, share.Part, max(1, share.Of), share.Path, share.InSlot, share.divisor()).Query(appendJobs(claimed))
}

// ClaimNewest queues the claim of up to limit of the newest jobs, newest first, of those that
// became due after a time.
func (s Schema) ClaimNewest(b *pgx.Batch, client, queue string, share Share, after time.Time, limit int, claimed *[]Job) {
	b.Queue(s.SQL(claimNewestQuery), queue, after, limit, client, share.Part, max(1, share.Of), share.Path, share.InSlot, share.divisor()).Query(appendJobs(claimed))
}

func appendJobs(claimed *[]Job) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		var j Job
		_, err := pgx.ForEachRow(rows, []any{
			&j.ID, &j.Kind, &j.Args, &j.Attempt, &j.MaxAttempts, &j.Errors, &j.Marked, &j.Deaths, &j.CreatedAt, &j.priority, &j.scheduledAt,
		}, func() error {
			*claimed = append(*claimed, j)
			j.Args = nil // so that the next row does not reuse its memory
			return nil
		})
		return err
	}
}

// marksKey is the key in a job's metadata that lists the processes which were about to
// work the job and did not finish.
const marksKey = "worker_marks"

// unmarked is the metadata of a job without its marks.
const unmarked = `CASE WHEN job.metadata ? '` + marksKey + `' THEN job.metadata - '` + marksKey + `' ELSE job.metadata END`

// markSuspectsQuery adds a process to the marks. The jobs stay available. The statement
// that ends an attempt also removes the marks.
const markSuspectsQuery = `
-- name: mark_suspects
UPDATE {schema}.river_job AS job
SET metadata = jsonb_set(metadata, '{` + marksKey + `}',
	CASE WHEN jsonb_typeof(metadata->'` + marksKey + `') = 'array' THEN metadata->'` + marksKey + `' ELSE '[]' END - $2::text || to_jsonb($2::text))
WHERE id = ANY($1::bigint[]) AND jsonb_typeof(metadata) = 'object'`

// MarkSuspects queues the marking of claimed jobs by the process that is about to work
// them, to be committed before it does. If the process dies, the others know which jobs it
// had in hand. While it lives, they leave these jobs to it.
func (s Schema) MarkSuspects(b *pgx.Batch, client string, jobs []Job) {
	ids := make([]int64, len(jobs))
	for i, j := range jobs {
		ids[i] = j.ID
	}
	b.Queue(s.SQL(markSuspectsQuery), ids, client)
}

// reclaimQuery claims jobs again that this process has just marked. Those that another
// process claimed meanwhile are skipped. state is compared as text, for which there is no
// index: with statistics from a time when nothing waited, the planner would choose to read
// all available jobs.
const reclaimQuery = `
-- name: reclaim_jobs
SELECT ` + claimColumns + `
FROM {schema}.river_job
WHERE id = ANY($1::bigint[]) AND state::text = 'available'
ORDER BY id
FOR UPDATE SKIP LOCKED`

// Reclaim queues the claim of jobs by their ids.
func (s Schema) Reclaim(b *pgx.Batch, ids []int64, claimed *[]Job) {
	b.Queue(s.SQL(reclaimQuery), ids).Query(appendJobs(claimed))
}

// PositionAt returns the position of jobs of a priority that are due at t.
func PositionAt(priority int, t time.Time) Position {
	return Position{priority: int16(priority), scheduledAt: t}
}

// Compare returns 1 if jobs at p are claimed after those at o, -1 if before, 0 if p is o.
func (p Position) Compare(o Position) int {
	return cmp.Or(cmp.Compare(p.priority, o.priority), p.scheduledAt.Compare(o.scheduledAt), cmp.Compare(p.id, o.id))
}

// After reports whether jobs at p are claimed after those at o.
func (p Position) After(o Position) bool { return p.Compare(o) > 0 }

// Earlier returns the position of the same priority that is d earlier.
func (p Position) Earlier(d time.Duration) Position {
	return Position{p.priority, p.scheduledAt.Add(-d), 0}
}

// Predecessor returns the last position before p.
func (p Position) Predecessor() Position { return Position{p.priority, p.scheduledAt, p.id - 1} }

package admin

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/internal/queue"
)

// Reason is a reason for which several jobs or activities failed.
type Reason struct {
	Reason   string    `json:"reason"` // as Normalized
	Count    int64     `json:"count"`
	NewestAt time.Time `json:"newest_at"`
	NewestID int64     `json:"newest_id"` // of the job, or of the reject
}

// Reasons are the newest failures grouped by reason, most frequent first.
type Reasons struct {
	Groups []Reason `json:"groups"` // up to 20, never null
	Read   int64    `json:"looked"` // failures that were read
	All    bool     `json:"all"`    // no other failures exist
}

// FailureReasons are the reasons why jobs and activities failed.
type FailureReasons struct {
	Retryable Reasons `json:"retryable"`
	Discarded Reasons `json:"discarded"`
	Cancelled Reasons `json:"cancelled"`
	Rejected  Reasons `json:"rejected"`
}

// maxReasons is how many groups are shown.
const maxReasons = 20

// varying matches the parts that differ between failures of one kind: ids, values,
// dates and hexadecimal numbers. It also matches SQLSTATEs, which Normalized keeps.
// Names that end in digits do not match.
var varying = regexp.MustCompile(`SQLSTATE [0-9A-Z]{5}|\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b|\b0x[0-9a-fA-F]+\b|[-+]?\b\d(?:[\w.:+-]*\w)?`)

// Normalized is the first line of a reason, with … for what differs between failures of
// one kind.
func Normalized(reason string) string {
	first, _, _ := strings.Cut(strings.TrimSpace(reason), "\n")
	return strings.TrimSpace(varying.ReplaceAllStringFunc(first, func(s string) string {
		if strings.HasPrefix(s, "SQLSTATE ") {
			return s
		}
		return "…"
	}))
}

// NormalizedReject is Normalized of a reject's reason, which is grouped by its beginning.
func NormalizedReject(reason string) string {
	if runes := []rune(reason); len(runes) > maxReason {
		reason = string(runes[:maxReason])
	}
	return Normalized(reason)
}

// maxReason is how many characters of a reason are read.
const maxReason = 300

// groupReasons groups failures. If there are limit or more, others may exist.
func groupReasons(failures []queue.LastFailure, limit int) Reasons {
	r := Reasons{Groups: []Reason{}, Read: int64(len(failures)), All: len(failures) < limit}
	at := map[string]int{}
	for _, f := range failures {
		reason := Normalized(f.Error)
		i, known := at[reason]
		if !known {
			i, at[reason] = len(r.Groups), len(r.Groups)
			r.Groups = append(r.Groups, Reason{Reason: reason})
		}
		g := &r.Groups[i]
		g.Count++
		if newest := f.At.Compare(g.NewestAt); newest > 0 || newest == 0 && f.ID > g.NewestID {
			g.NewestAt, g.NewestID = f.At, f.ID
		}
	}
	slices.SortFunc(r.Groups, func(a, b Reason) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), b.NewestAt.Compare(a.NewestAt), cmp.Compare(a.Reason, b.Reason))
	})
	r.Groups = r.Groups[:min(len(r.Groups), maxReasons)]
	return r
}

// rejectFailuresQuery reads the newest rejects along the primary key.
const rejectFailuresQuery = `
-- name: snapshot_reject_failures
SELECT id, rejected_at, left(reason, $2)
FROM ingest_rejects
ORDER BY id DESC
LIMIT $1`

// queueReasons queues the reading of failures. r is filled once the batch is closed.
func queueReasons(batch *pgx.Batch, river queue.Schema, r *FailureReasons) {
	group := func(reasons *Reasons, limit int) func([]queue.LastFailure) {
		return func(failures []queue.LastFailure) { *reasons = groupReasons(failures, limit) }
	}
	river.Failures(batch, "retryable", group(&r.Retryable, queue.MaxNext)) // one queue may have more
	river.Failures(batch, "discarded", group(&r.Discarded, queue.MaxFailures))
	river.Failures(batch, "cancelled", group(&r.Cancelled, queue.MaxFailures))
	batch.Queue(rejectFailuresQuery, queue.MaxFailures, maxReason).Query(func(rows pgx.Rows) error {
		failures, err := pgx.CollectRows(rows, pgx.RowToStructByPos[queue.LastFailure])
		r.Rejected = groupReasons(failures, queue.MaxFailures)
		return err
	})
}

package admin

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/queue"
)

// RejectGroup is a reason for which activities were rejected, as job_status explains it.
type RejectGroup struct {
	Reason
	Code     string // empty for a role that may not call the function that explains reasons
	Sentence string // for the athlete; empty likewise

	Rejects []Reject // those of the newest rejects with this reason, newest first
}

// RejectGroups are the newest rejects grouped by reason, most frequent first.
type RejectGroups struct {
	Groups []RejectGroup // up to 20
	Read   int64         // rejects that were read
	All    bool          // no other rejects exist
}

// GroupRejects groups the newest rejects that the filter selects by reason, as a snapshot
// does.
func (o *Actions) GroupRejects(ctx context.Context, f Filter) (RejectGroups, error) {
	found, err := o.ListRejects(ctx, f, queue.MaxFailures)
	if err != nil {
		return RejectGroups{}, err
	}
	failures, of := make([]queue.LastFailure, len(found)), map[string][]Reject{}
	for i, r := range found {
		reason := NormalizedReject(r.Reason)
		failures[i] = queue.LastFailure{ID: r.ID, At: r.RejectedAt, Error: reason}
		of[reason] = append(of[reason], r)
	}
	reasons := groupReasons(failures, queue.MaxFailures)
	grouped := RejectGroups{Groups: make([]RejectGroup, len(reasons.Groups)), Read: reasons.Read, All: reasons.All}
	for i, reason := range reasons.Groups {
		grouped.Groups[i] = RejectGroup{Reason: reason, Rejects: of[reason.Reason]}
	}
	return grouped, o.explainRejects(ctx, grouped.Groups)
}

// explainRejectsQuery explains one reason of each group.
const explainRejectsQuery = `
-- name: admin_explain_rejects
SELECT explained.code, explained.message
FROM unnest($1::text[]) WITH ORDINALITY AS given (reason, place) CROSS JOIN LATERAL {schema}.explain_reject(given.reason) AS explained
ORDER BY given.place`

// explainRejects adds codes and sentences. They are omitted for a role whose privileges
// were granted before this one was needed.
func (o *Actions) explainRejects(ctx context.Context, groups []RejectGroup) error {
	reasons := make([]string, len(groups))
	for i, g := range groups {
		reasons[i] = g.Rejects[0].Reason
	}
	type explanation struct{ Code, Sentence string }
	explained, err := dbpool.Collect(ctx, o.pool, "explain rejects", pgx.RowToStructByPos[explanation], o.river.SQL(explainRejectsQuery), reasons)
	if dbpool.SQLState(err) == dbpool.InsufficientPrivilege {
		return nil
	}
	for i, e := range explained {
		groups[i].Code, groups[i].Sentence = e.Code, e.Sentence
	}
	return err
}

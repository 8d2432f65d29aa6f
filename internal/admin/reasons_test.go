package admin

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/trainingmonkey/worker/internal/queue"
	"github.com/trainingmonkey/worker/test/dbtest"
)

func TestNormalized(t *testing.T) {
	t.Parallel()
	for reason, want := range map[string]string{
		"":   "",
		"\n": "",
		"activity 9876543210: total_load_miles: must be a finite number, got 1e999":                                    "activity …: total_load_miles: must be a finite number, got …",
		"date: 2025-02-30 does not exist\ngoroutine 7 [running]":                                                       "date: … does not exist",
		"distance_miles: must be at least 0, got -1.5":                                                                 "distance_miles: must be at least …, got …",
		`new row for relation "activities" violates check constraint "activities_check1" (SQLSTATE 23514)`:             `new row for relation "activities" violates check constraint "activities_check1" (SQLSTATE 23514)`,
		"ERROR: canceling statement (SQLSTATE 57014)":                                                                  "ERROR: canceling statement (SQLSTATE 57014)",
		"request 7b1c9f9e-5a3d-4a0f-9c0e-0d9f3a1b2c4d of 10.1.2.3:5432 failed at 0xdeadBEEF, at 2025-01-01T07:00:00Z.": "request … of … failed at …, at ….",
		"Key (user_id)=(7) is not there":                                                                               "Key (user_id)=(…) is not there",
		"int4 and user_2 stay":                                                                                         "int4 and user_2 stay",
	} {
		if got := Normalized(reason); got != want {
			t.Errorf("Normalized(%q) = %q, want %q", reason, got, want)
		}
	}
	if long := strings.Repeat("ü", 290) + " 123456789012345"; NormalizedReject(long) != strings.Repeat("ü", 290)+" …" {
		t.Errorf("NormalizedReject(%q) = %q", long, NormalizedReject(long))
	}
}

func TestGroupReasons(t *testing.T) {
	t.Parallel()
	at := func(minute int) time.Time { return time.Date(2025, 6, 1, 12, minute, 0, 0, time.UTC) }
	failures := []queue.LastFailure{
		{ID: 1, At: at(3), Error: "user 7: gone"}, {ID: 2, At: at(9), Error: "timeout"}, {ID: 3, At: at(5), Error: "user 8: gone"}, {ID: 4, At: at(1)},
	}
	want := Reasons{Read: 4, All: true, Groups: []Reason{
		{Reason: "user …: gone", Count: 2, NewestAt: at(5), NewestID: 3}, {Reason: "timeout", Count: 1, NewestAt: at(9), NewestID: 2}, {Count: 1, NewestAt: at(1), NewestID: 4},
	}}
	if diff := cmp.Diff(want, groupReasons(failures, 5)); diff != "" {
		t.Errorf("reasons (-want +got):\n%s", diff)
	}
	if groupReasons(failures, 4).All {
		t.Error("All = true although as many failures were read as may be")
	}
	many := make([]queue.LastFailure, 100)
	for i := range many {
		many[i].Error = strings.Repeat("x", i)
	}
	if got := groupReasons(many, 500); len(got.Groups) != maxReasons || got.Read != 100 {
		t.Errorf("%d groups of %d failures, want %d of 100", len(got.Groups), got.Read, maxReasons)
	}
	if got := groupReasons(nil, 500); got.Groups == nil || !got.All {
		t.Errorf("reasons of no failures = %+v, want an empty list with All = true", got)
	}
}

// TestReasonsAreBounded inserts more failures than are ever read.
func TestReasonsAreBounded(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	execute(t, pool, `INSERT INTO river.river_queue (name, updated_at) VALUES ('ingest', now())`)
	execute(t, pool, `INSERT INTO river.river_job (state, kind, queue, args, max_attempts, attempted_at, finalized_at, errors)
		SELECT state, 'activity_ingest', 'ingest', '{}', 25, now() - i * interval '1 second', CASE WHEN state <> 'retryable' THEN now() - i * interval '1 second' END,
		       array[jsonb_build_object('error', CASE WHEN i % 3 = 0 THEN 'timeout of ' || i ELSE 'user ' || i || ': gone' END)]
		FROM generate_series(1, 600) AS i, unnest('{retryable,discarded,cancelled}'::river.river_job_state[]) AS state`)
	execute(t, pool, `INSERT INTO ingest_rejects (job_id, payload, reason) SELECT i, '{}', 'date: ' || i || ' does not exist' FROM generate_series(1, 600) AS i`)
	s, err := Read(t.Context(), pool, Options{RiverSchema: dbtest.RiverSchema, Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		got   Reasons
		read  int64
		first string
		count int64
	}{
		"retryable": {s.Reasons.Retryable, 100, "user …: gone", 67},
		"discarded": {s.Reasons.Discarded, 500, "user …: gone", 334},
		"cancelled": {s.Reasons.Cancelled, 500, "user …: gone", 334},
		"rejected":  {s.Reasons.Rejected, 500, "date: … does not exist", 500},
	} {
		if c.got.Read != c.read || c.got.All || c.got.Groups[0].Reason != c.first || c.got.Groups[0].Count != c.count {
			t.Errorf("%s = %+v, want %d of %q among %d, and not all", name, c.got, c.count, c.first, c.read)
		}
	}
	if len(s.Retryable) != recentRows {
		t.Errorf("%d retryable jobs are listed, want %d", len(s.Retryable), recentRows)
	}
}

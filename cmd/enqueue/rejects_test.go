package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trainingmonkey/worker/migrations"
)

// ages match what differs from run to run.
var ages = regexp.MustCompile(`\b[0-9.]+ (ms|s|days)\b`)

// TestRejectsAreGrouped: by reason, the most frequent first, with job_status's
// sentence, the newest reject, and the individual reasons if they differ.
func TestRejectsAreGrouped(t *testing.T) {
	pool := operated(t)
	execute(t, pool, `UPDATE ingest_rejects SET rejected_at = now() - interval '3 days'`)
	execute(t, pool, `
INSERT INTO ingest_rejects (job_id, user_id, activity_id, payload, reason, rejected_at)
SELECT 200 + i, 7, 40 + i, '{}', format('date: must be a date that exists, as YYYY-MM-DD, got "2025-02-%s"', 29 + i), now() - interval '5 days'
FROM generate_series(1, 10) AS i`)
	got := enqueue(t, "rejects", "list")
	got.want(t, 0)
	want := `10 × invalid_date, the newest AGE ago
     date: must be a date that exists, as YYYY-MM-DD, got "…"
     for the athlete: This activity was not stored, because its date is missing or does not exist.
       ID  JOB  USER  ACTIVITY  AGE     REASON
       14  210     7        50  AGE  date: must be a date that exists, as YYYY-MM-DD, got "2025-02-39"
       13  209     7        49  AGE  date: must be a date that exists, as YYYY-MM-DD, got "2025-02-38"
       12  208     7        48  AGE  date: must be a date that exists, as YYYY-MM-DD, got "2025-02-37"

 3 × not_storable, the newest AGE ago
     refused by the database: injected
     for the athlete: This activity could not be stored.
       ID  JOB  USER  ACTIVITY  AGE
        4  102     8        33  AGE
        3  100     8        33  AGE
        1  100     7        31  AGE

 1 × invalid_date, the newest AGE ago
     date: must be a date that exists
     for the athlete: This activity was not stored, because its date is missing or does not exist.
       ID  JOB  USER  ACTIVITY  AGE
        2  101     7        32  AGE

list them one by one with: enqueue rejects list --each
after a fix: enqueue rejects retry --all
`
	if diff := cmp.Diff(want, ages.ReplaceAllString(got.stdout, "AGE")); diff != "" {
		t.Errorf("rejects list (-want +got):\n%s", diff)
	}
	grouped := enqueue(t, "rejects", "list", "--user", "8", "--older-than", "1h")
	grouped.want(t, 0, "2 × not_storable, the newest ", "\nafter a fix: enqueue rejects retry --user 8 --older-than 1h0m0s\n")
	if strings.Contains(grouped.stdout, "invalid_date") || strings.Contains(grouped.stdout, "one by one") {
		t.Errorf("for user 8, all of whose rejects are shown:\n%s", grouped.stdout)
	}
	for _, args := range [][]string{{"--each"}, {"--limit", "50"}} {
		each := enqueue(t, append([]string{"rejects", "list"}, args...)...)
		if n := strings.Count(each.stdout, "\n"); each.code != 0 || n != 15 {
			t.Errorf("rejects list %v prints %d lines, want a header and 14 rejects:\n%s", args, n, each.stdout)
		}
	}
	var list []struct{ ID int }
	if err := json.Unmarshal([]byte(enqueue(t, "rejects", "list", "--json").stdout), &list); err != nil || len(list) != 14 || list[0].ID != 14 {
		t.Errorf("rejects list --json: %v, %v, want every reject, the newest first", list, err)
	}
}

// TestManyRejectsAreGrouped: rejects that are not shown are counted.
func TestManyRejectsAreGrouped(t *testing.T) {
	pool := migrated(t)
	execute(t, pool, `
INSERT INTO ingest_rejects (job_id, user_id, activity_id, payload, reason)
SELECT i, 7, i, '{}', 'refused by the database: ' || translate((i % 22)::text, '0123456789', 'abcdefghij') FROM generate_series(1, 600) AS i`)
	enqueue(t, "rejects", "list").want(t, 0, "of the newest 500, and there may be more:\n\n23 × not_storable", "22 × not_storable", "\nand 44 others, for other reasons\nlist them one by one with: enqueue rejects list --each\n")
}

// TestRejectsAreGroupedForEveryRole: the codes need a privilege that a role may not
// have yet; the rest does not.
func TestRejectsAreGroupedForEveryRole(t *testing.T) {
	pool := operated(t)
	role := "worker_" + strings.ToLower(rand.Text()[:10])
	execute(t, pool, `CREATE ROLE `+role)
	t.Cleanup(func() {
		if _, err := pool.Exec(context.WithoutCancel(t.Context()), `DROP OWNED BY `+role+`; DROP ROLE `+role); err != nil {
			t.Error(err)
		}
	})
	if _, err := migrations.GrantWork(t.Context(), pool.Pool, "river", role); err != nil {
		t.Fatal(err)
	}
	address, err := url.Parse(os.Getenv("DATABASE_URL"))
	if err != nil {
		t.Fatal(err)
	}
	settings := address.Query()
	settings.Set("role", role)
	address.RawQuery = settings.Encode()
	t.Setenv("DATABASE_URL", address.String())
	enqueue(t, "rejects", "list").want(t, 0, "3 × not_storable, the newest ", "for the athlete: This activity could not be stored.\n")
	execute(t, pool, `REVOKE EXECUTE ON FUNCTION river.explain_reject(text) FROM `+role)
	got := enqueue(t, "rejects", "list")
	got.want(t, 0, "3 × the newest ", "refused by the database: injected\n")
	if strings.Contains(got.stdout, "for the athlete") {
		t.Errorf("explained without the privilege:\n%s", got.stdout)
	}
}

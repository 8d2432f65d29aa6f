package tokens_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/trainingmonkey/worker/internal/tokens"
	"github.com/trainingmonkey/worker/test/dbtest"
)

func TestSaveAndLoad(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	store := newStore(t, pool, "k1")
	op := first(7)
	op.UserAgent, op.Details = "Mozilla", map[string]any{"scope": "read"}
	saved(t, store, op, first(8))
	loaded, err := store.Load(t.Context(), []int32{9, 7, 8, 7, 1})
	if err != nil {
		t.Fatal(err)
	}
	if len(loaded.Tokens) != 2 || loaded.Tokens[0] != (tokens.Token{UserID: 7, Access: "access-7-0", Refresh: "refresh-7-0", ExpiresAt: expiry}) {
		t.Errorf("loaded %d tokens, the first expires at %v", len(loaded.Tokens), loaded.Tokens[0].ExpiresAt)
	}
	if age := time.Since(loaded.At).Abs(); age > time.Minute {
		t.Errorf("loaded at %v, %v from now", loaded.At, age)
	}
	if fmt.Sprint(loaded.Missing) != "[1 9]" || len(loaded.Unreadable) != 0 {
		t.Errorf("missing %v, unreadable %v; want 1 and 9, and none", loaded.Missing, loaded.Unreadable)
	}
	if got := text(t, pool, `SELECT string_agg(access_token || refresh_token, '') FROM user_tokens`); strings.Contains(got, "access-") || strings.Contains(got, "refresh-") || strings.Count(got, "enc:v1:k1:") != 4 {
		t.Errorf("stored %s", got)
	}
	if got, want := text(t, pool, auditLog), `7 save t Mozilla {"scope":"read"}; 8 save t {}`; got != want {
		t.Errorf("audit %s, want %s", got, want)
	}
	for _, printed := range []string{fmt.Sprintf("%+v", loaded), fmt.Sprintf("%#v", op), fmt.Sprintf("%x", loaded.Tokens[0])} {
		if strings.Contains(printed, "access-7") || strings.Contains(printed, "refresh-7") {
			t.Errorf("printed %s", printed)
		}
	}
}

// TestAnOldAnswerNeverOverwritesANewerOne is the race that destroys tokens: answers to
// two refreshes of one token, and to an older one.
func TestAnOldAnswerNeverOverwritesANewerOne(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	store := newStore(t, pool, "k1")
	saved(t, store, first(1), answer(1, 1), answer(1, 2))
	for name, op := range map[string]tokens.Operation{
		"an older answer":              answer(1, 1),
		"the failure of an older one":  {UserID: 1, Used: "refresh-1-0", Failure: &tokens.Failure{Reauthorize: tokens.Refused}},
		"an answer of somebody's else": {UserID: 1, Access: "a", Refresh: "b", Used: "refresh-2-0", ExpiresAt: expiry},
	} {
		if got := save(t, store, op)[0]; !errors.Is(got, tokens.ErrSuperseded) {
			t.Errorf("%s: %v, want ErrSuperseded", name, got)
		}
		if got := stored(t, store, 1); got != "refresh-1-2" {
			t.Fatalf("%s: stored is %s, want refresh-1-2", name, got)
		}
	}
	if got := text(t, pool, `SELECT count(*)::text FROM token_audit_log WHERE NOT success AND details->>'refused' = 'the stored refresh token is not the one that was used'`); got != "3" {
		t.Errorf("%s audit rows of refusals, want 3", got)
	}
	if got := save(t, store, answer(2, 1))[0]; !errors.Is(got, tokens.ErrMissing) {
		t.Errorf("an answer for a user without stored tokens: %v, want ErrMissing", got)
	}
	// The same answer again, as after a commit whose confirmation was lost.
	before := text(t, pool, auditLog)
	saved(t, store, answer(1, 2))
	if text(t, pool, auditLog) != before {
		t.Error("a stored answer was audited again")
	}
}

// TestConcurrentAnswersToOneToken: of many answers to one refresh token exactly one is
// stored, however they are batched.
func TestConcurrentAnswersToOneToken(t *testing.T) {
	t.Parallel()
	const users, rounds, rivals = 10, 8, 6
	pool := dbtest.Migrated(t)
	store := newStore(t, pool, "k1")
	current := make([]string, users+1)
	for user := int32(1); user <= users; user++ {
		saved(t, store, first(user))
		current[user] = first(user).Refresh
	}
	for round := range rounds {
		var wg sync.WaitGroup
		var mu sync.Mutex
		winners := map[int32][]string{}
		for rival := range rivals {
			wg.Go(func() {
				var batch []tokens.Operation
				for i := range int32(users) {
					user := 1 + (i*7+int32(rival)*3)%users // each rival in another order
					batch = append(batch, tokens.Operation{
						UserID: user, Access: fmt.Sprint("a", round, rival), Refresh: fmt.Sprint("r", user, "-", round, "-", rival), Used: current[user], ExpiresAt: expiry,
					})
				}
				outcomes, err := store.Save(t.Context(), batch)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				for i, refusal := range outcomes {
					if refusal == nil {
						winners[batch[i].UserID] = append(winners[batch[i].UserID], batch[i].Refresh)
					}
				}
			})
		}
		wg.Wait()
		for user := int32(1); user <= users; user++ {
			if len(winners[user]) != 1 || stored(t, store, user) != winners[user][0] {
				t.Fatalf("user %d: %d answers were reported as stored", user, len(winners[user]))
			}
			current[user] = winners[user][0]
		}
	}
	if got := text(t, pool, `SELECT concat_ws(' ', count(*) FILTER (WHERE success AND operation = 'refresh'), count(*) FILTER (WHERE NOT success)) FROM token_audit_log`); got != fmt.Sprint(users*rounds, " ", users*rounds*(rivals-1)) {
		t.Errorf("audit: %s", got)
	}
}

func TestRefusedOperationsCostTheOthersNothing(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	store := newStore(t, pool, "k1")
	execute(t, pool, `CREATE TABLE user_settings (id integer PRIMARY KEY); INSERT INTO user_settings SELECT generate_series(1, 50);
		ALTER TABLE user_tokens ADD FOREIGN KEY (user_id) REFERENCES user_settings (id)`)
	var operations []tokens.Operation
	for user := range int32(50) {
		operations = append(operations, first(user+1))
	}
	nobody, empty, late, long := first(99), first(3), first(4), first(5)
	empty.Refresh, late.ExpiresAt, long.Access = "", expiry.AddDate(2000, 0, 0), strings.Repeat("1", 1<<16+1)
	operations = append(operations, nobody, empty, late, long, tokens.Operation{UserID: -1})
	outcomes := save(t, store, operations...)
	for i, want := range map[int]error{50: tokens.ErrNotStored, 51: tokens.ErrInvalid, 52: tokens.ErrInvalid, 53: tokens.ErrInvalid, 54: tokens.ErrInvalid} {
		if !errors.Is(outcomes[i], want) {
			t.Errorf("%v = %v, want %v", operations[i], outcomes[i], want)
		}
	}
	if got := text(t, pool, `SELECT concat_ws(' ', (SELECT count(*) FROM user_tokens), count(*) FILTER (WHERE success), string_agg(user_id::text, ' ' ORDER BY id) FILTER (WHERE NOT success)) FROM token_audit_log`); got != "50 50 99 3 4 5" {
		t.Errorf("users, successes and failures: %s", got)
	}
}

func TestTroubleEndsWithNewTokens(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	store := newStore(t, pool, "k1")
	saved(t, store, first(1))
	saved(t, store, tokens.Operation{UserID: 1, Used: "refresh-1-0", Failure: &tokens.Failure{Reason: "no", Reauthorize: tokens.Refused}})
	if got := stored(t, store, 1); got != "refresh-1-0refused" {
		t.Fatalf("stored %s, want the token kept and marked", got)
	}
	if got, want := text(t, pool, auditLog), `1 save t {}; 1 refresh f {"needs_reauthorization":"refused","reason":"no"}`; got != want {
		t.Errorf("audit %s, want %s", got, want)
	}
	// The answer of a refresh that was in flight when another process marked the user.
	saved(t, store, answer(1, 1))
	if got := stored(t, store, 1); got != "refresh-1-1" {
		t.Errorf("stored %s, want refresh-1-1 and no mark", got)
	}
}

// TestUnreadableRows: with a wrong or missing key, cut short or swapped, tokens give clear
// errors, and no operation overwrites them.
func TestUnreadableRows(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		damage string
		keys   []string
		want   error
		users  string
	}{
		"missing key": {"SELECT", []string{"z9"}, tokens.ErrUnknownKey, "1 2 3"},
		"wrong key":   {"UPDATE user_tokens SET access_token = replace(access_token, ':k1:', ':z9:'), refresh_token = replace(refresh_token, ':k1:', ':z9:')", []string{"z9"}, tokens.ErrForged, "1 2 3"},
		"cut short":   {"UPDATE user_tokens SET refresh_token = left(refresh_token, 20) WHERE user_id = 2", []string{"k1"}, tokens.ErrMalformed, "2"},
		"cut a bit":   {"UPDATE user_tokens SET refresh_token = left(refresh_token, 38) WHERE user_id = 2", []string{"k1"}, tokens.ErrMalformed, "2"},
		"swapped rows": {
			"UPDATE user_tokens AS t SET access_token = o.access_token, refresh_token = o.refresh_token FROM user_tokens AS o WHERE t.user_id + o.user_id = 3",
			[]string{"k1"},
			tokens.ErrForged, "1 2",
		},
		"swapped columns": {"UPDATE user_tokens SET access_token = refresh_token, refresh_token = access_token WHERE user_id = 3", []string{"k1"}, tokens.ErrForged, "3"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := dbtest.Migrated(t)
			saved(t, newStore(t, pool, "k1"), first(1), first(2), first(3))
			execute(t, pool, c.damage)
			const rows = `SELECT string_agg(concat_ws(' ', xmin, user_tokens), '; ' ORDER BY user_id) FROM user_tokens WHERE position(user_id::text in $1) > 0`
			before := text(t, pool, rows, c.users)
			store := newStore(t, pool, c.keys...)
			loaded, err := store.Load(t.Context(), []int32{1, 2, 3})
			if err != nil {
				t.Fatal(err)
			}
			var users []string
			for _, u := range loaded.Unreadable {
				users = append(users, fmt.Sprint(u.UserID))
				if !errors.Is(u, c.want) || !strings.Contains(u.Error(), fmt.Sprintf("_token of user %d: it ", u.UserID)) {
					t.Errorf("unreadable: %v, want %v", u, c.want)
				}
				user := u.UserID
				for _, op := range []tokens.Operation{first(user), answer(user, 1), {UserID: user, Used: "refresh", Failure: &tokens.Failure{Reauthorize: tokens.Refused}}} {
					if got := save(t, store, op)[0]; !errors.Is(got, c.want) {
						t.Errorf("%v = %v, want %v", op, got, c.want)
					}
				}
				if _, _, _, err := store.Lease(t.Context(), user, tokens.Wanted{Since: time.Now()}, "me", time.Minute, plenty); !errors.Is(err, c.want) {
					t.Errorf("Lease = %v, want %v", err, c.want)
				}
			}
			if got := strings.Join(users, " "); got != c.users {
				t.Errorf("unreadable users %q, want %q", got, c.users)
			}
			rotation, err := store.Rotate(t.Context(), func(tokens.Rotation) {})
			if wanted := name != "missing key"; err != nil || (len(rotation.Unreadable) > 0) == wanted {
				t.Errorf("Rotate = %+v, %v", rotation, err)
			}
			if after := text(t, pool, rows, c.users); after != before {
				t.Errorf("rows were\n%s\nand are\n%s", before, after)
			}
		})
	}
}

// TestAnswersAfterAPurge: a refresh in flight stores nothing for a purged user, and a
// user who authorizes again is treated like any other.
func TestAnswersAfterAPurge(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	store := newStore(t, pool, "a")
	save(t, store, first(1), first(2))
	audits := func() (rows string) {
		t.Helper()
		if err := pool.QueryRow(t.Context(), `SELECT coalesce(string_agg(concat_ws(' ', user_id, operation, success), '; ' ORDER BY id), '') FROM token_audit_log`).Scan(&rows); err != nil {
			t.Fatal(err)
		}
		return rows
	}
	if _, err := pool.Exec(t.Context(), `SELECT river.purge_athlete(1, '0')`); err != nil {
		t.Fatal(err)
	}
	failed := tokens.Operation{UserID: 1, Used: "refresh-1-0", Failure: &tokens.Failure{Reason: "status 500"}}
	for _, op := range []tokens.Operation{answer(1, 1), failed} {
		if got := save(t, store, op, answer(3, 1))[0]; !errors.Is(got, tokens.ErrMissing) {
			t.Errorf("an answer for a purged user: %v, want ErrMissing", got)
		}
	}
	if got, want := audits(), "2 save t; 3 refresh f; 3 refresh f"; got != want {
		t.Errorf("audit rows %s, want %s", got, want)
	}
	save(t, store, first(1), answer(1, 1))
	if got, want := audits(), "2 save t; 3 refresh f; 3 refresh f; 1 save t; 1 refresh t"; got != want {
		t.Errorf("audit rows after the user authorized again %s, want %s", got, want)
	}
}

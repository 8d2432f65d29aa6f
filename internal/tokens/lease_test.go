package tokens_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/trainingmonkey/worker/internal/tokens"
	"github.com/trainingmonkey/worker/test/dbtest"
)

var plenty = tokens.Limits{Quarter: 1_000_000, Day: 1_000_000}

func lease(t *testing.T, store *tokens.Store, user int32, wanted tokens.Wanted, by string, limits tokens.Limits) (tokens.Lease, tokens.LeaseStatus, time.Duration) {
	t.Helper()
	l, status, wait, err := store.Lease(t.Context(), user, wanted, by, time.Minute, limits)
	if err != nil {
		t.Fatal(err)
	}
	return l, status, wait
}

func TestOneLeaseAtATime(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	store := newStore(t, pool, "k1")
	saved(t, store, first(1))
	wanted := tokens.Wanted{Since: time.Now().Add(time.Hour)}
	var wg sync.WaitGroup
	var leased, busy atomic.Int32
	for i := range 12 {
		wg.Go(func() {
			l, status, wait, err := store.Lease(t.Context(), 1, wanted, fmt.Sprint("p", i), time.Minute, plenty)
			switch {
			case err != nil:
				t.Error(err)
			case status == tokens.Leased && l.Refresh == "refresh-1-0" && !l.AnswerLost:
				leased.Add(1)
			case status == tokens.Busy && wait > 50*time.Second && wait <= time.Minute:
				busy.Add(1)
			}
		})
	}
	wg.Wait()
	if leased.Load() != 1 || busy.Load() != 11 {
		t.Errorf("%d leases and %d busy, want 1 and 11", leased.Load(), busy.Load())
	}
	if got := text(t, pool, `SELECT quarter_used || ' ' || day_used FROM token_provider`); got != "1 1" {
		t.Errorf("%s requests counted, want one: without a lease, no request is made", got)
	}
}

func TestLeaseStatuses(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	store := newStore(t, pool, "k1")
	soon := first(1)
	soon.ExpiresAt = time.Now().Add(10 * time.Minute)
	marked := first(2)
	saved(t, store, soon, marked, first(4), tokens.Operation{UserID: 2, Used: marked.Refresh, Failure: &tokens.Failure{Reauthorize: tokens.Refused}})
	execute(t, pool, `INSERT INTO user_tokens (user_id, access_token) VALUES (5, 'only')`)
	execute(t, pool, `UPDATE user_tokens SET saved_at = saved_at - interval '1 hour'`)
	now := time.Now()
	for _, c := range []struct {
		user   int32
		wanted tokens.Wanted
		want   tokens.LeaseStatus
	}{
		{1, tokens.Wanted{Since: now.Add(-2 * time.Hour)}, tokens.Fresh},
		{1, tokens.Wanted{Since: now, Within: 5 * time.Minute}, tokens.Fresh},
		{2, tokens.Wanted{Since: now}, tokens.Marked},
		{3, tokens.Wanted{Since: now}, tokens.Absent},
		{5, tokens.Wanted{Since: now}, tokens.Absent},
		{1, tokens.Wanted{Since: now, Within: 15 * time.Minute}, tokens.Leased},
		{4, tokens.Wanted{Since: now}, tokens.Leased},
	} {
		if _, got, _ := lease(t, store, c.user, c.wanted, "me", plenty); got != c.want {
			t.Errorf("user %d, %+v: status %d, want %d", c.user, c.wanted, got, c.want)
		}
	}
}

// TestALeftLeaseMeansALostAnswer: a lease that was never ended reports that its token
// was already sent to the provider.
func TestALeftLeaseMeansALostAnswer(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	store := newStore(t, pool, "k1")
	saved(t, store, first(1))
	wanted := tokens.Wanted{Since: time.Now().Add(time.Hour)}
	const over = `UPDATE user_tokens SET refresh_until = now()`
	failed := func(by string, f tokens.Failure) {
		t.Helper()
		saved(t, store, tokens.Operation{UserID: 1, Used: "refresh-1-0", Lease: by, Failure: &f})
	}
	expect := func(by string, lost bool) {
		t.Helper()
		if l, status, _ := lease(t, store, 1, wanted, by, plenty); status != tokens.Leased || l.AnswerLost != lost {
			t.Fatalf("%s: status %d, answer lost %v, want a lease and %v", by, status, l.AnswerLost, lost)
		}
	}
	expect("first", false)
	failed("first", tokens.Failure{Reason: "the provider says no"})
	expect("second", false) // the provider refused, so no answer was lost
	failed("second", tokens.Failure{Reason: "half an answer", AnswerMayBeLost: true})
	expect("third", true)
	execute(t, pool, over) // the process died
	expect("fourth", true)
	failed("third", tokens.Failure{Reason: "a zombie's"}) // must not end the fourth's lease
	if _, status, _ := lease(t, store, 1, wanted, "fifth", plenty); status != tokens.Busy {
		t.Errorf("a zombie ended another's lease: status %d", status)
	}
	if got := text(t, pool, `SELECT refresh_hash FROM user_tokens`); strings.Contains(got, "refresh-1") || len(got) != 64 {
		t.Errorf("the lease has stored %s, want a hash", got)
	}
	// A token that the application stores later is not the one that was sent.
	execute(t, pool, `SELECT river.save_user_token(1, 'a', 'b', 1900000000)`)
	expect("sixth", false)
}

func TestLimits(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	store := newStore(t, pool, "k1")
	for user := int32(1); user <= 40; user++ {
		saved(t, store, first(user))
	}
	wanted := tokens.Wanted{Since: time.Now().Add(time.Hour)}
	var wg sync.WaitGroup
	var leased, limited atomic.Int32
	// The row says when the quarter ends, because this test may run across that moment.
	execute(t, pool, `UPDATE token_provider SET quarter = date_bin('15 minutes', now(), 'epoch'), quarter_used = 5, day = date_trunc('day', now(), 'UTC'), day_used = 5`)
	for user := int32(1); user <= 40; user++ {
		wg.Go(func() {
			_, status, wait, err := store.Lease(t.Context(), user, wanted, "me", time.Minute, tokens.Limits{Quarter: 1_000_000, Day: 15})
			switch {
			case err != nil:
				t.Error(err)
			case status == tokens.Leased:
				leased.Add(1)
			case status == tokens.Limited && wait > 0 && wait <= 24*time.Hour:
				limited.Add(1)
			}
		})
	}
	wg.Wait()
	if leased.Load() != 10 || limited.Load() != 30 {
		t.Errorf("%d leased and %d limited, want 10 and 30", leased.Load(), limited.Load())
	}
	if got := text(t, pool, `SELECT count(*)::text FROM user_tokens WHERE refresh_by IS NOT NULL`); got != "10" {
		t.Errorf("%s leases, want those within the limits", got)
	}
	execute(t, pool, `UPDATE user_tokens SET refresh_by = NULL, refresh_until = NULL`)
	if _, status, wait := lease(t, store, 1, wanted, "me", tokens.Limits{Quarter: 1, Day: 1000}); status != tokens.Limited || wait > 15*time.Minute {
		t.Errorf("over the quarter's limit: status %d for %v", status, wait)
	}
	execute(t, pool, `UPDATE token_provider SET quarter = quarter - interval '15 minutes', day = day - interval '1 day'`)
	if _, status, _ := lease(t, store, 1, wanted, "me", tokens.Limits{Quarter: 1, Day: 1}); status != tokens.Leased {
		t.Errorf("in the next quarter: status %d, want a lease", status)
	}
	if err := store.Pause(t.Context(), time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := store.Pause(t.Context(), time.Minute); err != nil {
		t.Fatal(err)
	}
	if _, status, wait := lease(t, store, 2, wanted, "me", plenty); status != tokens.Limited || wait < 59*time.Minute {
		t.Errorf("paused for an hour: status %d for %v", status, wait)
	}
}

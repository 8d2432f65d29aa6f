package refresh_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/tokens"
	"github.com/trainingmonkey/worker/internal/tokens/refresh"
	"github.com/trainingmonkey/worker/test/dbtest"
	"github.com/trainingmonkey/worker/test/providertest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

func ring(t testing.TB) *tokens.Keyring {
	t.Helper()
	r, err := tokens.ParseKeyring("k1:" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", tokens.KeyBytes))))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// rig is a database, a provider and the refreshers of several processes.
type rig struct {
	*testing.T
	pool       *dbpool.Pool
	store      *tokens.Store
	provider   *providertest.Provider
	refreshers []*refresh.Refresher
}

const leaseTime = 2 * time.Second

func newRig(t *testing.T, processes, users int) *rig {
	t.Helper()
	pool := dbtest.Migrated(t)
	r := &rig{T: t, pool: pool, store: tokens.New(pool, ring(t), dbtest.RiverSchema), provider: providertest.New(t, nil)}
	for range processes {
		r.addProcess(r.store)
	}
	for user := int32(1); user <= int32(users); user++ {
		r.authorize(user)
	}
	return r
}

func (r *rig) addProcess(store *tokens.Store) {
	provider := refresh.NewProvider(r.provider.URL, providertest.ClientID, providertest.ClientSecret, "worker", 500*time.Millisecond, 4, time.Now)
	r.refreshers = append(r.refreshers, refresh.New(store, provider, refresh.Options{
		ClientID: fmt.Sprint("process-", len(r.refreshers)), Workers: 4, Lease: leaseTime,
		Limits: tokens.Limits{Quarter: 1_000_000, Day: 1_000_000}, Logger: slog.New(slog.NewTextHandler(r.Output(), nil)),
	}))
}

// authorize stores tokens that expire soon and were saved two hours ago.
func (r *rig) authorize(user int32) {
	r.Helper()
	access, refresh := r.provider.Authorize(user)
	outcomes, err := r.store.Save(r.Context(), []tokens.Operation{{UserID: user, Access: access, Refresh: refresh, ExpiresAt: time.Now().Add(time.Minute)}})
	if err := errors.Join(append(outcomes, err)...); err != nil {
		r.Fatal(err)
	}
	if _, err := r.pool.Exec(r.Context(), `UPDATE user_tokens SET saved_at = now() - interval '2 hours' WHERE user_id = $1`, user); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) refresh(process int, wanted tokens.Wanted, users ...int32) refresh.Result {
	r.Helper()
	result, err := r.refreshers[process].Refresh(r.Context(), users, wanted)
	if err != nil {
		r.Fatal(err)
	}
	return result
}

// stored returns the user's refresh token and the reason why it is marked, if it is.
func (r *rig) stored(user int32) (refresh string, mark tokens.Reason) {
	r.Helper()
	loaded, err := r.store.Load(r.Context(), []int32{user})
	if err != nil || len(loaded.Tokens) != 1 {
		r.Fatalf("load user %d: %v", user, err)
	}
	return loaded.Tokens[0].Refresh, loaded.Tokens[0].Reauthorize
}

func (r *rig) expect(user int32, mark tokens.Reason) {
	r.Helper()
	refresh, got := r.stored(user)
	if current, _ := r.provider.Current(user); got != mark || (mark == "" && refresh != current) {
		r.Errorf("user %d: marked %q, want %q; stored token is the provider's: %v", user, got, mark, refresh == current)
	}
}

func (r *rig) text(sql string) string {
	r.Helper()
	var s string
	if err := r.pool.QueryRow(r.Context(), sql).Scan(&s); err != nil {
		r.Fatal(err)
	}
	return s
}

func now() tokens.Wanted { return tokens.Wanted{Since: time.Now()} }

var soon = tokens.Wanted{Since: time.Now().Add(-time.Hour), Within: 30 * time.Minute}

// TestWhoComesSecondDoesNothing: two processes refresh the same users concurrently, for
// many rounds.
func TestWhoComesSecondDoesNothing(t *testing.T) {
	t.Parallel()
	const users, rounds = 20, 5
	r := newRig(t, 2, users)
	r.provider.SetFaults(func(int32) providertest.Fault { return providertest.Slow })
	allUsers := make([]int32, users)
	for i := range allUsers {
		allUsers[i] = int32(i + 1)
	}
	for range rounds {
		wanted := now()
		var wg sync.WaitGroup
		for process := range r.refreshers {
			wg.Go(func() {
				for result := (refresh.Result{Left: 1}); result.Left > 0; {
					var err error
					if result, err = r.refreshers[process].Refresh(r.Context(), allUsers, wanted); err != nil || result.Failed > 0 {
						t.Errorf("%+v, %v", result, err)
						return
					}
				}
			})
		}
		wg.Wait()
	}
	if got := r.provider.Counts(); got.Requests != users*rounds || got.Collisions+got.Reused > 0 {
		t.Errorf("provider: %+v, want %d requests and nothing else", got, users*rounds)
	}
	for _, user := range allUsers {
		r.expect(user, "")
	}
}

// TestFaults: what each fault means for the user, during it and afterwards.
func TestFaults(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		fault    providertest.Fault
		first    refresh.Result // counts only
		second   refresh.Result
		mark     tokens.Reason
		auditHas string
	}{
		{providertest.None, refresh.Result{Refreshed: 1}, refresh.Result{Refreshed: 1}, "", ""},
		{providertest.KeepsRefreshToken, refresh.Result{Refreshed: 1}, refresh.Result{Refreshed: 1}, "", ""},
		{providertest.Down, refresh.Result{Failed: 1}, refresh.Result{Refreshed: 1}, "", "the provider failed with status 500"},
		{providertest.Silent, refresh.Result{Failed: 1}, refresh.Result{Refreshed: 1}, "", "the provider did not answer in time"},
		{providertest.ClosesWithoutReply, refresh.Result{Failed: 1}, refresh.Result{Refreshed: 1}, "", "the connection to the provider broke"},
		{providertest.Unauthorized, refresh.Result{Failed: 1}, refresh.Result{Refreshed: 1}, "", "status 401 (invalid_client)"},
		{providertest.Throttle, refresh.Result{Left: 1}, refresh.Result{Left: 1}, "", "the provider's limit is reached"},
		{providertest.DownAfterRotating, refresh.Result{Failed: 1}, refresh.Result{Marked: 1}, tokens.AnswerLost, "the provider failed with status 502"},
		{providertest.Garbage, refresh.Result{Failed: 1}, refresh.Result{Marked: 1}, tokens.AnswerLost, "no tokens that can be read"},
		{providertest.Half, refresh.Result{Failed: 1}, refresh.Result{Marked: 1}, tokens.AnswerLost, "no tokens that can be read"},
		{providertest.SilentAfter, refresh.Result{Failed: 1}, refresh.Result{Marked: 1}, tokens.AnswerLost, "the provider did not answer in time"},
	} {
		t.Run(string(c.fault), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 1, 2)
			r.provider.SetFaults(func(user int32) providertest.Fault {
				if user == 1 {
					return c.fault
				}
				return providertest.None
			})
			counts := func(got refresh.Result) refresh.Result {
				return refresh.Result{Refreshed: got.Refreshed, Marked: got.Marked, Failed: got.Failed, Left: got.Left}
			}
			if got := counts(r.refresh(0, now(), 1)); got != c.first {
				t.Errorf("first = %+v, want %+v", got, c.first)
			}
			if refresh, _ := r.stored(1); refresh == "" {
				t.Error("the token is gone")
			}
			r.provider.SetFaults(nil)
			if got := counts(r.refresh(0, now(), 1)); got != c.second {
				t.Errorf("second = %+v, want %+v", got, c.second)
			}
			if c.fault == providertest.Throttle {
				if got := r.refresh(0, now(), 2); got.Left != 1 || got.Wait <= 0 || got.Wait > time.Second {
					t.Errorf("another user = %+v, want no request for a second", got)
				}
				return
			}
			r.expect(1, c.mark)
			if got := counts(r.refresh(0, now(), 2)); got != (refresh.Result{Refreshed: 1}) {
				t.Errorf("another user = %+v, want it refreshed", got)
			}
			failures := r.text(`SELECT coalesce(string_agg(details->>'reason', '; '), '') FROM token_audit_log WHERE NOT success AND operation = 'refresh'`)
			if !strings.Contains(failures, c.auditHas) || (c.auditHas == "") != (failures == "") {
				t.Errorf("audit: %s, want %s", failures, c.auditHas)
			}
			stats := r.refreshers[0].Stats()
			if want := int64(c.first.Failed + c.second.Failed + c.second.Marked); stats.Failed != want || stats.Marked != int64(c.second.Marked) {
				t.Errorf("stats %+v, want %d failed", stats, want)
			}
			if c.mark == "" {
				return
			}
			if got := r.refresh(0, now(), 1); got.Marked != 1 || r.provider.Counts().Reused != 1 {
				t.Errorf("a marked user = %+v, want no request", got)
			}
			r.authorize(1)
			if got := r.refresh(0, now(), 1); got.Refreshed != 1 {
				t.Errorf("after authorizing anew = %+v", got)
			}
			r.expect(1, "")
		})
	}
}

// TestPanicFailsTheUser: and does not end the process.
func TestPanicFailsTheUser(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0, 2)
	broken := refresh.New(r.store, nil, refresh.Options{
		ClientID: "broken", Workers: 2, Lease: leaseTime,
		Limits: tokens.Limits{Quarter: 1_000_000, Day: 1_000_000}, Logger: slog.New(slog.DiscardHandler),
	})
	for _, want := range []refresh.Result{{Failed: 2}, {Left: 2}} { // then both leases are still running; no goroutine is lost
		result, err := broken.Refresh(t.Context(), []int32{1, 2}, now())
		if err != nil || result.Failed != want.Failed || result.Left != want.Left {
			t.Fatalf("Refresh = %+v, %v, want %d failed and %d left", result, err, want.Failed, want.Left)
		}
	}
}

func TestRevokedUserIsMarkedAndKept(t *testing.T) {
	t.Parallel()
	for _, how := range []providertest.Fault{providertest.None, providertest.StravasRefusal} {
		r := newRig(t, 1, 1)
		before, _ := r.stored(1)
		r.provider.Revoke(1)
		r.provider.SetFaults(func(int32) providertest.Fault { return how })
		if got := r.refresh(0, soon, 1); got.Marked != 1 {
			t.Errorf("%s: %+v, want the user marked", how, got)
		}
		r.expect(1, tokens.Refused)
		if after, _ := r.stored(1); after != before {
			t.Error("the tokens were not kept")
		}
	}
}

// TestARotatedTokenIsStoredWhenTheDatabaseIsBack: the provider has answered, and then
// writes fail for a while.
func TestARotatedTokenIsStoredWhenTheDatabaseIsBack(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, 1)
	r.provider.SetFaults(func(int32) providertest.Fault { // called when the lease is taken
		if _, err := r.pool.Exec(context.WithoutCancel(t.Context()), `ALTER TABLE token_audit_log RENAME TO gone`); err != nil {
			t.Error(err)
		}
		return providertest.None
	})
	old, _ := r.stored(1)
	done := make(chan refresh.Result, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		result, err := r.refreshers[0].Refresh(ctx, []int32{1}, soon)
		if err != nil {
			t.Error(err)
		}
		done <- result
	}()
	for r.Context().Err() == nil {
		if current, _ := r.provider.Current(1); current != old {
			break
		}
		time.Sleep(time.Millisecond)
	}
	select {
	case got := <-done:
		t.Fatalf("gave up: %+v", got)
	case <-time.After(300 * time.Millisecond):
	}
	if _, err := r.pool.Exec(t.Context(), `ALTER TABLE gone RENAME TO token_audit_log`); err != nil {
		t.Fatal(err)
	}
	if got := <-done; got.Refreshed != 1 {
		t.Errorf("%+v, want it refreshed", got)
	}
	r.expect(1, "")
}

// TestNoConnectionIsHeldWhileTheProviderIsAsked: the second half would never end if a
// connection stayed in use.
func TestNoConnectionIsHeldWhileTheProviderIsAsked(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, 4)
	r.provider.SetFaults(func(int32) providertest.Fault {
		if n := r.pool.Stat().AcquiredConns(); n > 1 { // another user's lease or save
			t.Errorf("%d connections in use", n)
		}
		return providertest.None
	})
	if got := r.refresh(0, soon, 1); got.Refreshed != 1 {
		t.Errorf("%+v", got)
	}
	r.provider.SetFaults(func(int32) providertest.Fault { return providertest.Silent })
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.refresh(0, soon, 2, 3, 4)
	}()
	for r.provider.Counts().Requests < 4 {
		time.Sleep(time.Millisecond)
	}
	for r.pool.Stat().AcquiredConns() > 0 { // until the last lease returns its connection
		select {
		case <-done:
			t.Fatal("a connection was in use all the time")
		case <-time.After(time.Millisecond):
		}
	}
	<-done
}

// TestStopFinishesWhoIsUnderWay: refreshes in flight finish, and no other begins.
func TestStopFinishesWhoIsUnderWay(t *testing.T) {
	t.Parallel()
	const users = 40
	r := newRig(t, 1, users)
	allUsers := make([]int32, users)
	for i := range allUsers {
		allUsers[i] = int32(i + 1)
	}
	r.provider.SetFaults(func(int32) providertest.Fault {
		r.refreshers[0].Stop()
		return providertest.Slow
	})
	got := r.refresh(0, soon, allUsers...)
	if got.Refreshed == 0 || got.Refreshed > 5 || got.Refreshed+got.Left != users {
		t.Errorf("%+v, want the few in flight finished and the others left", got)
	}
	for _, user := range allUsers {
		r.expect(user, "")
	}
}

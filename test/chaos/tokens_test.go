//go:build chaos

package chaos

import (
	"context"
	"encoding/base64"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/tokens"
	"github.com/trainingmonkey/worker/jobs"
	"github.com/trainingmonkey/worker/test/commandtest"
	"github.com/trainingmonkey/worker/test/dbtest"
	"github.com/trainingmonkey/worker/test/providertest"
)

// tokenRig is 200 users of a provider with every fault, and the workers that keep
// refreshing their tokens.
type tokenRig struct {
	*rig
	pool     *dbpool.Pool
	store    *tokens.Store
	enqueuer *jobs.Enqueuer
	provider *providertest.Provider

	lostByProvider, lostByCrash int // lost answers, according to the users' marks
}

const (
	tokenUsers   = 200
	tokenWorkers = 8 // concurrent requests of a process
)

func newTokenRig(t *testing.T) *tokenRig {
	t.Helper()
	r := &tokenRig{rig: shared(t)}
	r.pool = r.rig.pool()
	key := "k1:" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", tokens.KeyBytes)))
	ring, err := tokens.ParseKeyring(key)
	if err != nil {
		t.Fatal(err)
	}
	r.store = tokens.New(r.pool, ring, dbtest.RiverSchema)
	if r.enqueuer, err = jobs.NewEnqueuer(r.pool.Pool, dbtest.RiverSchema); err != nil {
		t.Fatal(err)
	}
	often := providertest.Sometimes(20, providertest.Down, providertest.Silent, providertest.Unauthorized, providertest.Slow, providertest.KeepsRefreshToken, providertest.ClosesWithoutReply)
	seldom := providertest.Sometimes(2, providertest.Garbage, providertest.Half, providertest.DownAfterRotating, providertest.SilentAfter, providertest.Throttle)
	r.provider = providertest.New(t, func(user int32) providertest.Fault {
		if fault := seldom(user); fault != providertest.None {
			return fault
		}
		return often(user)
	})
	r.more = []string{
		"TMWORKER_TOKEN_KEYS=" + key, "TMWORKER_TOKENS_CLIENT_SECRET=" + providertest.ClientSecret,
		"TMWORKER_TOKENS_CLIENT_ID=" + providertest.ClientID, "TMWORKER_TOKENS_TOKEN_URL=" + r.provider.URL,
		"TMWORKER_TOKENS_HTTP_TIMEOUT=500ms", "TMWORKER_TOKENS_WORKERS=8",
		"TMWORKER_TOKENS_LIMIT_QUARTER=1000000", "TMWORKER_TOKENS_LIMIT_DAY=1000000", "TMWORKER_TOKENS_REFRESH_EVERY=1s",
	}
	for user := int32(1); user <= tokenUsers; user++ {
		r.authorize(user)
	}
	return r
}

// authorize stores tokens like the application once a user has authorized it. It has no
// key in this test, because the worker also reads plain tokens.
func (r *tokenRig) authorize(user int32) {
	r.Helper()
	access, refresh := r.provider.Authorize(user)
	r.exec(`SELECT river.save_user_token($1, $2, $3, extract(epoch FROM now())::bigint + 60, '10.0.0.1', 'browser')`, user, access, refresh)
}

func (r *tokenRig) enqueue(users []int32) []int64 {
	r.Helper()
	var ids []int64
	err := r.pool.InTx(context.WithoutCancel(r.Context()), func(ctx context.Context, tx pgx.Tx) (err error) {
		ids, err = r.enqueuer.RefreshTokensTx(ctx, tx, jobs.PriorityLive, users, 0)
		return err
	})
	if err != nil {
		r.Error(err)
	}
	return ids
}

func allUsers() []int32 {
	users := make([]int32, tokenUsers)
	for i := range users {
		users[i] = int32(i + 1)
	}
	return users
}

// judge checks a user between refreshes: either the stored token is the provider's, or
// the user is marked, and never both.
func (r *tokenRig) judge(token tokens.Token) (marked bool) {
	r.Helper()
	current, lost := r.provider.Current(token.UserID)
	switch {
	case token.Reauthorize == "" && token.Refresh != current:
		r.Errorf("the stored token of user %d is not the provider's, and nothing reports it (the provider lost the answer: %v)", token.UserID, lost)
	case token.Reauthorize != "" && token.Refresh == current:
		r.Errorf("user %d is marked although the stored token is the provider's", token.UserID)
	case token.Reauthorize == tokens.AnswerLost && lost:
		r.lostByProvider++
	case token.Reauthorize == tokens.AnswerLost:
		r.lostByCrash++
	case token.Reauthorize != "":
		r.Errorf("user %d is marked as %s, but no authorization was revoked", token.UserID, token.Reauthorize)
	}
	return token.Reauthorize != ""
}

// reauthorizeMarked has marked users authorize again.
func (r *tokenRig) reauthorizeMarked() {
	r.Helper()
	loaded, err := r.store.Load(context.WithoutCancel(r.Context()), allUsers())
	if err != nil || len(loaded.Tokens) != tokenUsers {
		r.Errorf("%d of %d users: %v, %v", len(loaded.Tokens), tokenUsers, loaded.Unreadable, err)
		return
	}
	for _, token := range loaded.Tokens {
		if token.Reauthorize != "" && r.judge(token) {
			r.authorize(token.UserID)
		}
	}
}

// TestKilledWhileRefreshing kills workers at random while the provider rotates tokens,
// accepts each once, and fails. With -long 1m it runs for a minute.
func TestKilledWhileRefreshing(t *testing.T) {
	t.Parallel()
	length := max(20*time.Second, *long)
	r := newTokenRig(t)
	fleet := make([]*commandtest.Process, 2)
	for i := range fleet {
		fleet[i] = r.startWorker()
	}
	stop := make(chan struct{})
	var load sync.WaitGroup
	load.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			case <-time.After(250 * time.Millisecond):
			}
			users := allUsers()
			rand.Shuffle(len(users), func(i, j int) { users[i], users[j] = users[j], users[i] })
			r.enqueue(users[:50])
			if n%4 == 0 {
				r.reauthorizeMarked()
			}
		}
	})
	kills := 0
	for end := time.Now().Add(length); time.Now().Before(end); kills++ {
		time.Sleep(300*time.Millisecond + rand.N(900*time.Millisecond))
		i := rand.IntN(len(fleet))
		fleet[i].Signal(t, syscall.SIGKILL)
		<-fleet[i].Done
		fleet[i] = r.startWorker()
	}
	close(stop)
	load.Wait()

	r.provider.SetFaults(nil)
	rescued := r.rescue(fleet)
	ids := r.enqueue(allUsers())
	r.finished(ids, time.Minute)
	reported := map[string]string{"metrics": r.metrics(fleet[0])}
	r.stopWorkers()

	loaded, err := r.store.Load(t.Context(), allUsers())
	if err != nil || len(loaded.Tokens) != tokenUsers {
		t.Fatalf("%d of %d users: %v, %v", len(loaded.Tokens), tokenUsers, loaded.Unreadable, err)
	}
	marked := 0
	for _, token := range loaded.Tokens {
		if r.judge(token) {
			marked++
		}
	}
	counts := r.provider.Counts()
	t.Logf("%d jobs that killed processes had running were rescued and done", rescued)
	t.Logf("%d kills in %v, %d requests to the provider: %d answers lost by the provider, %d between answer and commit; at the end %d of %d users marked, the others up to date",
		kills, length, counts.Requests, r.lostByProvider, r.lostByCrash, marked, tokenUsers)
	if counts.Collisions > 0 {
		t.Errorf("%d refreshes of a user while another one was under way", counts.Collisions)
	}
	if limit := kills * tokenWorkers; r.lostByCrash > limit {
		t.Errorf("%d answers lost between answer and commit, more than can have been in flight in %d kills", r.lostByCrash, kills)
	}
	if counts.Requests < 20*int(length.Seconds()) || kills < int(length.Seconds())/3 {
		t.Errorf("%d requests and %d kills prove little", counts.Requests, kills)
	}
	for _, w := range r.workers {
		reported["logs"] += w.Log()
	}
	if !strings.Contains(reported["metrics"], `tmworker_tokens{state="valid"}`) || !strings.Contains(reported["logs"], "user has to authorize again") {
		t.Error("metrics and logs do not mention tokens, so finding no secret in them proves nothing")
	}
	for place, content := range reported {
		for _, secret := range append(r.provider.Secrets(), strings.TrimPrefix(r.more[0], "TMWORKER_TOKEN_KEYS=k1:")) {
			if strings.Contains(content, secret) {
				t.Errorf("the %s have a secret, %.10s…", place, secret)
			}
		}
	}
}

// leftQuery finds the jobs still marked running by processes that ended.
const leftQuery = `
SELECT id FROM river.river_job
WHERE state = 'running' AND kind = 'token_refresh' AND NOT attempted_by[array_upper(attempted_by, 1)] LIKE ANY($1)`

// rescue makes workers return the jobs of killed processes, which they do 90 seconds
// after they began, and waits until they are back.
func (r *tokenRig) rescue(alive []*commandtest.Process) int {
	r.Helper()
	var theirs []string
	for _, w := range alive {
		theirs = append(theirs, "%-"+strconv.Itoa(w.Process.Pid)+"-%")
	}
	rows, err := r.pool.Query(r.Context(), leftQuery, theirs)
	if err != nil {
		r.Fatal(err)
	}
	left, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		r.Fatal(err)
	}
	r.exec(`UPDATE river.river_job SET attempted_at = attempted_at - interval '2 minutes' WHERE id = ANY($1)`, left)
	for deadline := time.Now().Add(90 * time.Second); r.count(`SELECT count(*) FROM river.river_job WHERE id = ANY($1) AND state = 'running'`, left) > 0; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.Fatal("nobody rescued what killed processes had running")
		}
	}
	r.exec(`UPDATE river.river_job SET scheduled_at = now() WHERE id = ANY($1) AND state = 'retryable'`, left)
	r.finished(left, 30*time.Second)
	return len(left)
}

// finished waits until the jobs are completed.
func (r *tokenRig) finished(ids []int64, within time.Duration) {
	r.Helper()
	for deadline := time.Now().Add(within); ; time.Sleep(50 * time.Millisecond) {
		var left int
		err := r.connect(func(ctx context.Context, conn *pgx.Conn) error {
			return conn.QueryRow(ctx, `SELECT count(*) FROM river.river_job WHERE id = ANY($1) AND state <> 'completed'`, ids).Scan(&left)
		})
		if err == nil && left == 0 {
			return
		}
		if time.Now().After(deadline) {
			r.Fatalf("%d of %d jobs are not completed after %v (%v)", left, len(ids), within, err)
		}
	}
}

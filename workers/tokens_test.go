package workers

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/internal/tokens"
	"github.com/trainingmonkey/worker/jobs"
	"github.com/trainingmonkey/worker/test/dbtest"
	"github.com/trainingmonkey/worker/test/providertest"
)

var keyText = base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", tokens.KeyBytes)))

// tokenConfig configures a worker that refreshes at the provider.
func tokenConfig(t *testing.T, provider *providertest.Provider) config.Config {
	t.Helper()
	c := config.Default()
	var err error
	if c.TokenKeys, err = tokens.ParseKeyring("k1:" + keyText); err != nil {
		t.Fatal(err)
	}
	c.Tokens.TokenURL, c.Tokens.ClientID, c.TokensClientSecret = provider.URL, providertest.ClientID, providertest.ClientSecret
	c.Tokens.LimitQuarter, c.Tokens.LimitDay = 1_000_000, 1_000_000
	c.Tokens.HTTPTimeout, c.Tokens.RefreshEvery = 500*time.Millisecond, time.Second
	return c
}

// authorized stores tokens of users 1 to n that expire after the given time.
func authorized(t *testing.T, pool *dbpool.Pool, c config.Config, provider *providertest.Provider, users int, after time.Duration) {
	t.Helper()
	var operations []tokens.Operation
	for user := int32(1); user <= int32(users); user++ {
		access, refresh := provider.Authorize(user)
		operations = append(operations, tokens.Operation{UserID: user, Access: access, Refresh: refresh, ExpiresAt: time.Now().Add(after)})
	}
	if _, err := tokens.New(pool, c.TokenKeys, dbtest.RiverSchema).Save(t.Context(), operations); err != nil {
		t.Fatal(err)
	}
}

func enqueueTokens(t *testing.T, pool *dbpool.Pool, users ...int32) {
	t.Helper()
	enqueuer, err := jobs.NewEnqueuer(pool.Pool, dbtest.RiverSchema)
	if err != nil {
		t.Fatal(err)
	}
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := enqueuer.RefreshTokensTx(t.Context(), tx, jobs.PriorityLive, users, 0); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// buffer is a log that can be read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// TestTokensAreRefreshedInTime: even though requests sometimes fail. Afterwards no log,
// error, job, audit row or count has a secret.
func TestTokensAreRefreshedInTime(t *testing.T) {
	t.Parallel()
	const users = 120
	pool := dbtest.Migrated(t)
	faults := providertest.Sometimes(40, providertest.Down, providertest.Unauthorized, providertest.Silent,
		providertest.ClosesWithoutReply, providertest.KeepsRefreshToken, providertest.Half, providertest.Garbage, providertest.DownAfterRotating)
	provider := providertest.New(t, func(user int32) providertest.Fault {
		if user == 2 { // so that its refusal cannot be the consequence of a lost answer
			return providertest.None
		}
		return faults(user)
	})
	c := tokenConfig(t, provider)
	authorized(t, pool, c, provider, users, 10*time.Minute)
	execute(t, pool, `UPDATE user_tokens SET refresh_token = 'enc:v1:k1:' || left(split_part(refresh_token, ':', 4), 8) WHERE user_id = 1`) // does not decrypt
	provider.Revoke(2)
	log := &buffer{}
	s, err := New(t.Context(), pool, c, slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	const left = `SELECT count(*) FROM user_tokens WHERE user_id > 1 AND reauthorize_since IS NULL AND expires_at < extract(epoch FROM now()) + 3600`
	for n := users; n > 0 && ctx.Err() == nil; n = query[int](t, pool, left) {
		if n < users/3 { // enough faults
			provider.SetFaults(nil)
		}
		time.Sleep(50 * time.Millisecond)
	}
	enqueueTokens(t, pool, 1, 2, 999)
	for query[int](t, pool, `SELECT count(*) FROM river.river_job WHERE args->'user_ids' @> '999' AND (state = 'completed' OR errors IS NOT NULL)`) == 0 && ctx.Err() == nil {
		time.Sleep(50 * time.Millisecond)
	}
	if ctx.Err() != nil {
		t.Errorf("not all users were refreshed in time: %d left", query[int](t, pool, left))
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}

	store := tokens.New(pool, c.TokenKeys, dbtest.RiverSchema)
	marked := 0
	for user := int32(2); user <= users; user++ {
		loaded, err := store.Load(t.Context(), []int32{user})
		if err != nil || len(loaded.Tokens) != 1 {
			t.Fatalf("user %d: %+v, %v", user, loaded, err)
		}
		token := loaded.Tokens[0]
		current, lost := provider.Current(user)
		switch {
		case token.Reauthorize != "":
			marked++
			if want := map[bool]tokens.Reason{true: tokens.Refused, false: tokens.AnswerLost}[user == 2]; token.Reauthorize != want || (user != 2 && !lost) {
				t.Errorf("user %d is marked %q, want %q, and only if the provider lost something", user, token.Reauthorize, want)
			}
		case token.Refresh != current:
			t.Errorf("the stored token of user %d is not the provider's, and the user is not marked", user)
		}
	}
	stats := s.Stats()
	t.Logf("%d marked; %+v", marked, stats.TokenUsers)
	if failures := query[int64](t, pool, `SELECT count(*) FROM token_audit_log WHERE NOT success`); failures != stats.TokenUsers.Failed || stats.TokenUsers.Marked != int64(marked) || marked < 2 {
		t.Errorf("%d failures in the audit log, %d users marked; counted: %+v", failures, marked, stats.TokenUsers)
	}
	if counts := provider.Counts(); counts.Collisions > 0 {
		t.Errorf("provider: %+v, want no two refreshes of a user at once", counts)
	}

	places := map[string]string{"log": log.String(), "stats": fmt.Sprintf("%+v", stats) + asJSON(t, stats)}
	for _, table := range []string{"river.river_job", "token_audit_log", "user_tokens", "token_provider", "river.river_queue", "worker_processes"} {
		places[table] = query[string](t, pool, `SELECT coalesce(string_agg(r::text, ' '), '') FROM `+table+` AS r`)
	}
	if !strings.Contains(places["river.river_job"], "users not refreshed, the first: user") || !strings.Contains(places["log"], "user has to authorize again") {
		t.Error("errors and logs are empty, so finding no secret in them proves nothing")
	}
	for place, content := range places {
		for _, secret := range append(provider.Secrets(), keyText, strings.Repeat("k", tokens.KeyBytes)) {
			if strings.Contains(content, secret) {
				t.Errorf("%s has a secret, %.10s…", place, secret)
			}
		}
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestWithoutKeysTheRestRuns: token jobs wait for a process that has the keys.
func TestWithoutKeysTheRestRuns(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	provider := providertest.New(t, nil)
	c := tokenConfig(t, provider)
	authorized(t, pool, c, provider, 1, time.Minute)
	enqueueTokens(t, pool, 1)
	enqueue(t, pool, []jobs.Activity{run(1, 1, "2025-01-01", 5, 50)})
	without := c
	without.TokenKeys = nil
	log := &buffer{}
	s, err := New(t.Context(), pool, without, slog.New(slog.NewTextHandler(log, nil)), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	checkOracle(t, pool)
	if !strings.Contains(log.String(), "this process does not refresh tokens") || !strings.Contains(log.String(), "not_set=TMWORKER_TOKEN_KEYS") {
		t.Errorf("log:\n%s", log)
	}
	if got := query[string](t, pool, `SELECT string_agg(concat_ws(' ', kind, state, attempt), ', ') FROM river.river_job WHERE state <> 'completed'`); got != "token_refresh available 0" {
		t.Errorf("left: %s, want the token job untouched", got)
	}
	stats := drainWith(t, pool, c)
	if stats.TokenUsers.Refreshed != 1 {
		t.Errorf("with keys: %+v", stats.TokenUsers)
	}
}

// TestThrottledJobsWaitWithoutSpendingAttempts: in every process.
func TestThrottledJobsWaitWithoutSpendingAttempts(t *testing.T) {
	t.Parallel()
	const users = 30
	pool := dbtest.Migrated(t)
	asked := 0
	provider := providertest.New(t, func(int32) providertest.Fault { // calls are serialized
		if asked++; asked == 5 {
			return providertest.Throttle
		}
		return providertest.None
	})
	c := tokenConfig(t, provider)
	c.Tokens.Workers = 1
	authorized(t, pool, c, provider, users, time.Minute)
	for user := int32(1); user <= users; user += 10 {
		enqueueTokens(t, pool, user, user+1, user+2, user+3, user+4, user+5, user+6, user+7, user+8, user+9)
	}
	var wg sync.WaitGroup
	started := time.Now()
	for range 2 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			if err := newService(t, pool, c).Drain(ctx); err != nil || ctx.Err() != nil {
				t.Errorf("drain: %v, %v", err, ctx.Err())
			}
		})
	}
	wg.Wait()
	if took := time.Since(started); took < time.Second {
		t.Errorf("done in %v, although the provider asked for a second", took)
	}
	if got := query[string](t, pool, `SELECT concat_ws(' ', count(*), bool_and(state = 'completed'), max(attempt), count(errors)) FROM river.river_job WHERE args ? 'user_ids' AND NOT args ? 'expiring_within'`); got != "3 t 1 0" {
		t.Errorf("jobs: %s, want 3 completed in their first attempt without an error", got)
	}
	if counts := provider.Counts(); counts.Requests != users+1 || counts.Collisions+counts.Reused > 0 {
		t.Errorf("provider: %+v, want one request a user and the throttled one", counts)
	}
}

func TestBadTokenArgsAreCancelled(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	provider := providertest.New(t, nil)
	for _, args := range []string{`{}`, `{"user_ids": [0]}`, `{"user_ids": "all"}`, `{"expiring_within": -1}`} {
		execute(t, pool, `INSERT INTO river.river_job (args, kind, max_attempts, queue) VALUES ($1, 'token_refresh', 5, 'tokens')`, args)
	}
	drainWith(t, pool, tokenConfig(t, provider))
	if got := query[string](t, pool, `SELECT concat_ws(' ', count(*), bool_and(errors[1]->>'error' LIKE '%args do not decode: %'), max(attempt)) FROM river.river_job WHERE state = 'cancelled'`); got != "4 t 1" {
		t.Errorf("cancelled: %s, want 4 with the reason", got)
	}
}

package main

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/cli"
	"github.com/trainingmonkey/worker/internal/tokens"
	"github.com/trainingmonkey/worker/test/dbtest"
	"github.com/trainingmonkey/worker/test/providertest"
)

// withTokens stores a provider's tokens for users 1 to n that expire in ten minutes,
// and sets the secrets that refreshing needs.
func withTokens(t *testing.T, pool *dbpool.Pool, n int32) *providertest.Provider {
	t.Helper()
	provider := providertest.New(t, nil)
	key := "k1:" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", tokens.KeyBytes)))
	for name, value := range map[string]string{
		"TMWORKER_TOKEN_KEYS": key, "TMWORKER_TOKENS_CLIENT_SECRET": providertest.ClientSecret,
		"TMWORKER_TOKENS_CLIENT_ID": providertest.ClientID, "TMWORKER_TOKENS_TOKEN_URL": provider.URL, "TMWORKER_TOKENS_REFRESH_EVERY": "1h",
		"TMWORKER_TOKENS_LIMIT_QUARTER": "1000000", "TMWORKER_TOKENS_LIMIT_DAY": "1000000", // so that it never waits for the next quarter of an hour
	} {
		t.Setenv(name, value)
	}
	ring, err := tokens.ParseKeyring(key)
	if err != nil {
		t.Fatal(err)
	}
	var operations []tokens.Operation
	for user := int32(1); user <= n; user++ {
		access, refresh := provider.Authorize(user)
		operations = append(operations, tokens.Operation{UserID: user, Access: access, Refresh: refresh, ExpiresAt: time.Now().Add(10 * time.Minute)})
	}
	if _, err := tokens.New(pool, ring, dbtest.RiverSchema).Save(t.Context(), operations); err != nil {
		t.Fatal(err)
	}
	return provider
}

func TestTokensAreRefreshedOnDemand(t *testing.T) {
	pool := migrated(t)
	enqueue(t, "tokens", "refresh", "--user", "1").want(t, 2, "TMWORKER_TOKEN_KEYS is not set")
	provider := withTokens(t, pool, 120)
	provider.Revoke(3)
	enqueue(t, "tokens", "status").want(t, 0, "fresh                          0", "expiring within 30m0s        120", "120 encrypted with key k1")
	enqueue(t, "tokens", "refresh", "--expiring-within", "5m").want(t, 0, "nothing to do")
	enqueue(t, "tokens", "refresh", "--expiring-within", "15m").want(t, 0, "enqueued the refresh of the tokens of 120 users in 3 jobs")
	enqueue(t, "tokens", "refresh", "--expiring-within", "15m").want(t, 0, "nothing to do")
	settings, err := cli.LoadConfig("")
	if err != nil {
		t.Fatal(err)
	}
	workingAs(t, pool, settings)
	got := enqueue(t, "tokens", "refresh", "--user", "1,2", "--wait", "--json")
	var done enqueuedRefresh
	if err := json.Unmarshal([]byte(got.stdout), &done); err != nil || got.code != 0 || done.Users != 2 || len(done.JobIDs) != 1 || done.After.Fresh != 2 {
		t.Errorf("--wait --json: %d, %s %s", got.code, got.stdout, got.stderr)
	}
	refused := enqueue(t, "tokens", "refresh", "--user", "2", "--user", "3", "--wait")
	if refused.code != 1 || !strings.Contains(refused.stderr, "1 user has to authorize the application again") || !strings.Contains(refused.stdout, "the provider refuses the refresh token") {
		t.Errorf("a user who revoked the authorization: %+v", refused)
	}
	eventually(t, func() bool {
		return query[int](t, pool, `SELECT count(*) FROM river.river_job WHERE state <> 'completed'`) == 0
	})
	var status tokens.Status
	listed := enqueue(t, "tokens", "status", "--json")
	if err := json.Unmarshal([]byte(listed.stdout), &status); err != nil || status.Fresh != 119 || status.NeedsReauthorization != 1 || len(status.Reauthorize) != 1 || status.Reauthorize[0].UserID != 3 {
		t.Errorf("status --json: %s", listed.stdout)
	}
	for _, secret := range provider.Secrets() {
		if strings.Contains(got.stdout+got.stderr+refused.stdout+refused.stderr+listed.stdout, secret) {
			t.Error("a secret was printed")
		}
	}
}

func TestTokensUsage(t *testing.T) {
	t.Setenv("DATABASE_URL", nowhere)
	for args, want := range map[string]string{
		"refresh": "whose tokens? give --user, --expiring-within or both",
		"refresh --user 0 --expiring-within 900h": "--user must be a positive id, got 0",
		"refresh --expiring-within 900h":          "--expiring-within must be 1s to 720h0m0s, got 900h0m0s",
		"refresh --expiring-within soon":          "soon",
		"status --expiring-within=-1s":            "--expiring-within must not be negative",
		"status 7":                                "unknown command",
	} {
		enqueue(t, append([]string{"tokens"}, strings.Fields(args)...)...).want(t, 2, want)
	}
}

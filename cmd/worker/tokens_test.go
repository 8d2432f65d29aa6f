package main

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/trainingmonkey/worker/internal/tokens"
	"github.com/trainingmonkey/worker/test/dbtest"
)

func testKey(id string) string {
	return id + ":" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat(id[:1], tokens.KeyBytes)))
}

// TestRotate encrypts plain rows, changes the key, and leaves alone what does not decrypt.
func TestRotate(t *testing.T) {
	url := dbtest.MigratedURL(t)
	t.Setenv("DATABASE_URL", url)
	pool := dbtest.Open(t, url)
	if _, err := pool.Exec(t.Context(), `INSERT INTO user_tokens (user_id, access_token, refresh_token, expires_at) SELECT i, 'access-' || i, 'refresh-' || i, 1900000000 FROM generate_series(1, 1200) i`); err != nil {
		t.Fatal(err)
	}
	worker(t, "tokens", "rotate").want(t, 2, "TMWORKER_TOKEN_KEYS is not set", "openssl rand -base64 32")
	t.Setenv("TMWORKER_TOKEN_KEYS", testKey("a1")+"x")
	worker(t, "tokens", "rotate").want(t, 2, "TMWORKER_TOKEN_KEYS: key 1: must be 32 random bytes in base64")
	t.Setenv("TMWORKER_TOKEN_KEYS", testKey("a1"))
	worker(t, "tokens", "rotate").want(t, 0, "encrypted the tokens of 1200 users with key a1")
	worker(t, "tokens", "rotate").want(t, 0, "encrypted the tokens of 0 users with key a1")
	if _, err := pool.Exec(t.Context(), `UPDATE user_tokens SET refresh_token = left(refresh_token, 30) WHERE user_id = 600`); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMWORKER_TOKEN_KEYS", testKey("b2")+","+testKey("a1"))
	got := worker(t, "tokens", "rotate", "--json")
	var r tokens.Rotation
	if err := json.Unmarshal([]byte(got.stdout), &r); err != nil || got.code != 1 || r.Key != "b2" || r.Total != 1200 || r.Rotated != 1199 || len(r.Unreadable) != 1 {
		t.Errorf("--json: exit code %d, %s (%v)", got.code, got.stdout, err)
	}
	got.want(t, 1, "tokens that do not decrypt with any of the keys are left as they are, 1 in all; users 600")
	ring, err := tokens.ParseKeyring(testKey("b2"))
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := tokens.New(pool, ring, dbtest.RiverSchema).Load(t.Context(), []int32{1, 600, 1200})
	if err != nil || len(loaded.Tokens) != 2 || len(loaded.Unreadable) != 1 || loaded.Tokens[1].Refresh != "refresh-1200" {
		t.Errorf("with only the new key: %+v, %v", loaded, err)
	}
}

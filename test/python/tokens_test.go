package python

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/trainingmonkey/worker/internal/tokens"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// TestTokensOfEitherSideAreReadByTheOther: with the current key and an older one.
func TestTokensOfEitherSideAreReadByTheOther(t *testing.T) {
	key := func(id, of string) string {
		return id + ":" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat(of, tokens.KeyBytes)))
	}
	app, pool := newApplication(t, "psycopg2"), dbtest.Migrated(t)
	python := func(keys, how, user string) string {
		t.Helper()
		t.Setenv("TMWORKER_TOKEN_KEYS", keys)
		return app.run(t, pool.Config().ConnString(), "testdata/use_tokens.py", how, user)
	}
	store := func(keys string) *tokens.Store {
		t.Helper()
		ring, err := tokens.ParseKeyring(keys)
		if err != nil {
			t.Fatal(err)
		}
		return tokens.New(pool, ring, dbtest.RiverSchema)
	}
	oldKey, bothKeys := key("old", "o"), key("new", "n")+","+key("old", "o")

	python(oldKey, "save", "7")
	loaded, err := store(bothKeys).Load(t.Context(), []int32{7})
	if err != nil || len(loaded.Tokens) != 1 || loaded.Tokens[0] != (tokens.Token{UserID: 7, Access: "accès-1", Refresh: "refresh-1", ExpiresAt: time.Unix(1900000000, 0)}) {
		t.Fatalf("the worker reads %d tokens, %v, %v", len(loaded.Tokens), loaded.Unreadable, err)
	}
	if got := text(t, pool, `SELECT concat_ws(' ', operation, success, ip_address, user_agent) FROM token_audit_log`); got != "save t 10.0.0.1 Mozilla" {
		t.Errorf("audit: %s", got)
	}
	if got := text(t, pool, `SELECT concat_ws(' ', left(access_token, 11), left(refresh_token, 11)) FROM user_tokens`); got != "enc:v1:old: enc:v1:old:" {
		t.Errorf("stored %s", got)
	}
	outcomes, err := store(bothKeys).Save(t.Context(), []tokens.Operation{{UserID: 7, Access: "accès-2", Refresh: "refresh-2", Used: "refresh-1", ExpiresAt: time.Unix(1900000001, 0)}})
	if err != nil || outcomes[0] != nil {
		t.Fatal(err, outcomes)
	}
	if got := python(bothKeys, "load", "7"); got != "{7: ('accès-2', 1900000001)}" {
		t.Errorf("the application reads %s", got)
	}
	if got := python(bothKeys, "unseal elsewhere", "7"); got != "refresh-2\nInvalidTag\nInvalidTag" {
		t.Errorf("unsealed in its place and in others: %s", got)
	}
	if _, err := pool.Exec(t.Context(), `UPDATE user_tokens SET access_token = 'plain', reauthorize_since = NULL`); err != nil {
		t.Fatal(err)
	}
	if got := python(bothKeys, "load", "7"); got != "{7: ('plain', 1900000001)}" {
		t.Errorf("not encrypted: %s", got)
	}
	if _, err := pool.Exec(t.Context(), `UPDATE user_tokens SET reauthorize_since = now()`); err != nil {
		t.Fatal(err)
	}
	if got := python(bothKeys, "load", "7"); got != "{}" {
		t.Errorf("a user who has to authorize again: %s", got)
	}
}

package main

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/trainingmonkey/worker/internal/tokens"
	"github.com/trainingmonkey/worker/test/commandtest"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// TestJSONIsDocumented compares every --json output with its documented fields.
func TestJSONIsDocumented(t *testing.T) {
	url := dbtest.MigratedURL(t)
	t.Setenv("DATABASE_URL", url)
	t.Setenv("TMWORKER_TOKEN_KEYS", "k1:"+base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", tokens.KeyBytes))))
	if _, err := dbtest.Open(t, url).Exec(t.Context(), `INSERT INTO user_tokens (user_id, access_token, refresh_token) VALUES (7, 'a', 'enc:v1:k1:x')`); err != nil {
		t.Fatal(err)
	}
	documented := 0
	for command, fields := range commandtest.JSONDocuments(t) {
		if args, ours := strings.CutPrefix(command, "worker "); ours {
			documented++
			commandtest.CheckJSON(t, command, fields, worker(t, append(strings.Fields(args), "--json")...).stdout)
		}
	}
	if documented != 3 {
		t.Errorf("%d commands are documented, want check, migrate status and tokens rotate", documented)
	}
}

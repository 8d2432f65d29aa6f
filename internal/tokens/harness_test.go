package tokens_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/tokens"
	"github.com/trainingmonkey/worker/test/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// keys returns a keyring in which each key repeats the first byte of its id.
func keys(t testing.TB, ids ...string) *tokens.Keyring {
	t.Helper()
	entries := make([]string, len(ids))
	for i, id := range ids {
		entries[i] = id + ":" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat(id[:1], tokens.KeyBytes)))
	}
	ring, err := tokens.ParseKeyring(strings.Join(entries, ","))
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func newStore(t testing.TB, pool *dbpool.Pool, ids ...string) *tokens.Store {
	t.Helper()
	return tokens.New(pool, keys(t, ids...), dbtest.RiverSchema)
}

var expiry = time.Unix(1_900_000_000, 0)

// first is the save of a user's first authorization.
func first(user int32) tokens.Operation {
	return tokens.Operation{UserID: user, Access: fmt.Sprintf("access-%d-0", user), Refresh: fmt.Sprintf("refresh-%d-0", user), ExpiresAt: expiry}
}

// answer is the save of the provider's n-th answer, which replaces the previous tokens.
func answer(user int32, n int) tokens.Operation {
	return tokens.Operation{
		UserID: user, Access: fmt.Sprintf("access-%d-%d", user, n), Refresh: fmt.Sprintf("refresh-%d-%d", user, n),
		Used: fmt.Sprintf("refresh-%d-%d", user, n-1), ExpiresAt: expiry.Add(time.Duration(n) * time.Second),
	}
}

func save(t testing.TB, store *tokens.Store, operations ...tokens.Operation) []error {
	t.Helper()
	outcomes, err := store.Save(t.Context(), operations)
	if err != nil {
		t.Fatal(err)
	}
	return outcomes
}

func saved(t testing.TB, store *tokens.Store, operations ...tokens.Operation) {
	t.Helper()
	for i, refusal := range save(t, store, operations...) {
		if refusal != nil {
			t.Fatalf("%v: %v", operations[i], refusal)
		}
	}
}

// stored returns a user's stored refresh token, or what is wrong with it.
func stored(t testing.TB, store *tokens.Store, user int32) string {
	t.Helper()
	loaded, err := store.Load(t.Context(), []int32{user})
	if err != nil {
		t.Fatal(err)
	}
	if len(loaded.Unreadable) > 0 {
		return loaded.Unreadable[0].Error()
	}
	if len(loaded.Tokens) == 0 {
		return "missing"
	}
	return loaded.Tokens[0].Refresh + string(loaded.Tokens[0].Reauthorize)
}

func text(t testing.TB, pool *dbpool.Pool, sql string, args ...any) string {
	t.Helper()
	var s string
	if err := pool.QueryRow(t.Context(), sql, args...).Scan(&s); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return s
}

func execute(t testing.TB, pool *dbpool.Pool, sql string, args ...any) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

const auditLog = `SELECT coalesce(string_agg(concat_ws(' ', user_id, operation, success, ip_address, user_agent, details), '; ' ORDER BY id), '') FROM token_audit_log`

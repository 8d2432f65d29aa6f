package migrations_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/trainingmonkey/worker/migrations"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// TestTokensOnTheApplicationsTables: whatever the type of expires_at, both functions
// use seconds, and existing rows do not change.
func TestTokensOnTheApplicationsTables(t *testing.T) {
	t.Parallel()
	for _, expiry := range []string{"bigint", "integer", "timestamptz", "timestamp"} {
		t.Run(expiry, func(t *testing.T) {
			t.Parallel()
			pool := dbtest.Open(t, dbtest.New(t))
			value := "1790000000"
			if strings.HasPrefix(expiry, "timestamp") {
				value = "to_timestamp(1790000000) AT TIME ZONE 'UTC'"
			}
			execute(t, pool, fmt.Sprintf(`
				CREATE TABLE user_tokens (user_id bigint PRIMARY KEY, refresh_token varchar NOT NULL, access_token text, expires_at %s, scope text DEFAULT 'read');
				CREATE TABLE token_audit_log (id serial PRIMARY KEY, user_id integer, operation varchar(20), success boolean,
					timestamp timestamp DEFAULT now(), ip_address varchar(45), user_agent text, details jsonb);
				INSERT INTO user_tokens VALUES (7, 'r', 'a', %s)`, expiry, value))
			const rows = `SELECT string_agg(concat_ws(' ', xmin, ctid, user_id, access_token, refresh_token, expires_at, scope), ';')
				|| (SELECT relfilenode FROM pg_class WHERE oid = 'user_tokens'::regclass) FROM user_tokens`
			before := text(t, pool, rows)
			steps, err := migrations.Plan(t.Context(), pool.Pool, dbtest.RiverSchema)
			if err != nil {
				t.Fatal(err)
			}
			const does = "add to user_tokens, without rewriting it: saved_at timestamptz, refresh_by text, "
			if last := steps[len(steps)-1]; !strings.Contains(fmt.Sprint(steps), does) || !strings.Contains(fmt.Sprint(steps), "nothing: token_audit_log has every column") {
				t.Errorf("plan: %+v, want %q", last, does)
			}
			up(t, pool)
			if after := text(t, pool, rows); after != before {
				t.Errorf("rows were %s, are %s", before, after)
			}
			const loaded = `SELECT string_agg(concat_ws(' ', user_id, access_token, refresh_token, expires_at, needs_reauthorization), '; ') FROM river.load_user_tokens('{7,8,9}')`
			if got := text(t, pool, loaded); got != "7 a r 1790000000 f" {
				t.Errorf("loaded %s", got)
			}
			execute(t, pool, `UPDATE user_tokens SET refresh_by = 'x', refresh_until = now(), refresh_hash = 'h', reauthorize_since = now(), reauthorize_reason = 'refused'`)
			execute(t, pool, `SELECT river.save_user_token(7, 'a2', 'r2', 1790000007), river.save_user_token(8, 'a3', 'r3', 1790000008, '10.0.0.1', 'browser')`)
			if got := text(t, pool, loaded); got != "7 a2 r2 1790000007 f; 8 a3 r3 1790000008 f" {
				t.Errorf("saved %s", got)
			}
			if got := text(t, pool, `SELECT count(*)::text FROM user_tokens WHERE num_nulls(refresh_by, refresh_until, refresh_hash, reauthorize_since, reauthorize_reason) = 5 AND saved_at IS NOT NULL AND scope = 'read'`); got != "2" {
				t.Errorf("%s rows are correct, want 2", got)
			}
			if got := text(t, pool, `SELECT string_agg(concat_ws(' ', user_id, operation, success, ip_address, user_agent, details), '; ' ORDER BY user_id) FROM token_audit_log`); got != "7 save t {}; 8 save t 10.0.0.1 browser {}" {
				t.Errorf("audit: %s", got)
			}
		})
	}
}

func TestTokensThatWouldHaveToBeConvertedAreRefused(t *testing.T) {
	t.Parallel()
	for table, want := range map[string]string{
		`user_id integer, access_token text`:                    "ALTER TABLE user_tokens ADD PRIMARY KEY (user_id)",
		`user_id integer PRIMARY KEY, access_token varchar(64)`: "ALTER TABLE user_tokens ALTER COLUMN access_token TYPE text",
		`user_id integer PRIMARY KEY, expires_at text`:          `column "expires_at" of user_tokens is text, needed is bigint`,
		`user_id text PRIMARY KEY, refresh_token bytea`:         `column "refresh_token" of user_tokens is bytea`,
	} {
		pool := dbtest.Open(t, dbtest.New(t))
		execute(t, pool, `CREATE TABLE user_tokens (`+table+`)`)
		_, err := migrations.Up(t.Context(), pool.Pool, dbtest.RiverSchema)
		if !errors.Is(err, migrations.ErrIncompatible) || !strings.Contains(err.Error(), want) {
			t.Errorf("Up = %v, want ErrIncompatible with %q", err, want)
		}
	}
}

func TestSaveUserTokenRefusesWithoutQuoting(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	for values, want := range map[string]string{
		`0, 'a', 'r', 1790000000`:                           "user_id: must be a positive integer, got 0",
		`NULL, NULL, '', NULL`:                              "user_id: must be a positive integer, got nothing; access_token: is required; refresh_token: is required; expires_at: must be seconds since 1970, before the year 3000, got nothing",
		`1, 'a', 'r', 1790000000000`:                        "expires_at: must be seconds since 1970, before the year 3000, got 1790000000000",
		`1, 'a', 'r', 1, '` + strings.Repeat("1", 46) + `'`: "ip_address: is longer than 45 characters",
	} {
		_, err := pool.Exec(t.Context(), `SELECT river.save_user_token(`+values+`)`)
		checkRefusal(t, values, err, want)
	}
	if got := text(t, pool, `SELECT concat_ws(' ', (SELECT count(*) FROM user_tokens), (SELECT count(*) FROM token_audit_log))`); got != "0 0" {
		t.Errorf("rows %s", got)
	}
}

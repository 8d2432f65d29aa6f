package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/tokens"
	"github.com/trainingmonkey/worker/jobs"
)

// tokensSuite saves new tokens of existing users, each with its audit row: by four
// statements on a connection each, which the project replaces; one user per
// transaction; and a hundred per transaction.
func tokensSuite(ctx context.Context, r *rig) error {
	many, few := 20_000, 200
	if r.short {
		many, few = 500, 10
	}
	key := make([]byte, tokens.KeyBytes)
	_, _ = rand.Read(key)
	ring, err := tokens.ParseKeyring("k1:" + base64.StdEncoding.EncodeToString(key))
	if err != nil {
		return err
	}
	template, err := r.migrated(ctx, r.worker)
	if err != nil {
		return err
	}
	if err := r.saveTokens(ctx, template, ring, "old", many, many); err != nil {
		return err
	}
	if err := r.exec(ctx, template, `TRUNCATE token_audit_log`); err != nil {
		return err
	}
	var contestants []contestant
	for _, c := range []struct {
		name  string
		users int
		save  func(ctx context.Context, database string, users int) error
	}{
		{"tokens_connection_per_query", few, func(ctx context.Context, database string, users int) error {
			return r.saveWithoutPool(ctx, database, ring, users)
		}},
		{"tokens_one_by_one", min(many, 10*few), func(ctx context.Context, database string, users int) error {
			return r.saveTokens(ctx, database, ring, "new", users, 1)
		}},
		{"tokens_saved", many, func(ctx context.Context, database string, users int) error {
			return r.saveTokens(ctx, database, ring, "new", users, 100)
		}},
	} {
		contestants = append(contestants, contestant{
			name: c.name, template: template, amount: c.users,
			run: func(ctx context.Context, database string) (o outcome, err error) {
				started := time.Now()
				err = c.save(ctx, database, c.users)
				o.seconds = time.Since(started).Seconds()
				return o, err
			},
			check: func(ctx context.Context, pool *dbpool.Pool) (string, error) {
				return checkTokens(ctx, pool, ring, c.users)
			},
		})
	}
	scores, err := r.compete(ctx, contestants...)
	if err != nil {
		return err
	}
	for _, s := range scores {
		r.results = append(r.results, s.result(append([]figure{s.ofTimes(scores[0])}, s.cost()...)...))
	}
	return r.dropTemplates(ctx, contestants)
}

// newToken returns the tokens to save for a user; age distinguishes old from new ones.
func newToken(user int32, age string) tokens.Operation {
	return tokens.Operation{
		UserID: user, Access: fmt.Sprintf("access-%s-%037d", age, user), Refresh: fmt.Sprintf("refresh-%s-%036d", age, user),
		ExpiresAt: time.Unix(1_900_000_000, 0),
	}
}

// saveTokens saves new tokens of users 1 to users, with batch users in each transaction.
func (r *rig) saveTokens(ctx context.Context, database string, ring *tokens.Keyring, age string, users, batch int) error {
	pool, err := r.open(ctx, database)
	if err != nil {
		return err
	}
	defer pool.Close()
	store := tokens.New(pool, ring, jobs.DefaultSchema)
	for saved := 0; saved < users; saved += batch {
		var operations []tokens.Operation
		for user := saved + 1; user <= min(saved+batch, users); user++ {
			operations = append(operations, newToken(int32(user), age))
		}
		refusals, err := store.Save(ctx, operations)
		if err := errors.Join(append(refusals, err)...); err != nil {
			return err
		}
	}
	return nil
}

// upsertToken writes a user's row.
const upsertToken = `
INSERT INTO user_tokens (user_id, access_token, refresh_token, expires_at) VALUES ($1, $2, $3, $4)
ON CONFLICT (user_id) DO UPDATE SET access_token = excluded.access_token, refresh_token = excluded.refresh_token, expires_at = excluded.expires_at`

// saveWithoutPool reads each user's row, writes it, writes the audit row, and reads the
// row back.
func (r *rig) saveWithoutPool(ctx context.Context, database string, ring *tokens.Keyring, users int) error {
	for user := range int32(users) {
		op := newToken(user+1, "new")
		sealed := func(column, plain string) string {
			return ring.Seal(fmt.Sprintf("user_tokens/%d/%s", op.UserID, column), plain)
		}
		for _, statement := range []struct {
			sql  string
			args []any
		}{
			{`SELECT refresh_token FROM user_tokens WHERE user_id = $1`, []any{op.UserID}},
			{upsertToken, []any{op.UserID, sealed("access_token", op.Access), sealed("refresh_token", op.Refresh), op.ExpiresAt.Unix()}},
			{`INSERT INTO token_audit_log (user_id, operation, success, timestamp) VALUES ($1, 'save', true, now())`, []any{op.UserID}},
			{`SELECT expires_at FROM user_tokens WHERE user_id = $1`, []any{op.UserID}},
		} {
			err := connected(ctx, r.server.URL(database), func(conn *pgx.Conn) error {
				_, err := conn.Exec(ctx, statement.sql, statement.args...)
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// checkTokens reads and decrypts all users' tokens, and counts each user's audit rows.
func checkTokens(ctx context.Context, pool *dbpool.Pool, ring *tokens.Keyring, users int) (fault string, err error) {
	ids := make([]int32, users)
	for i := range ids {
		ids[i] = int32(i) + 1
	}
	loaded, err := tokens.New(pool, ring, jobs.DefaultSchema).Load(ctx, ids)
	if err != nil {
		return "", err
	}
	if len(loaded.Tokens) != users {
		return fmt.Sprintf("of %d users %d have a token", users, len(loaded.Tokens)), nil
	}
	for _, t := range loaded.Tokens {
		if want := newToken(t.UserID, "new"); t.Access != want.Access || t.Refresh != want.Refresh || !t.ExpiresAt.Equal(want.ExpiresAt) {
			return fmt.Sprintf("user %d has another token", t.UserID), nil
		}
	}
	var rows, audited int
	err = pool.QueryRow(ctx, `SELECT count(*), count(DISTINCT user_id) FROM token_audit_log WHERE success AND operation = 'save'`).Scan(&rows, &audited)
	if err == nil && (rows != users || audited != users) {
		fault = fmt.Sprintf("%d audit rows of %d users instead of %d", rows, audited, users)
	}
	return fault, err
}

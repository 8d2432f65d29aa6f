package migrations

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// tokensColumnsQuery lists the columns of an existing table of tokens whose types the
// worker cannot use. A token grows by half when it is encrypted, so columns of bounded
// length do not suffice.
const tokensColumnsQuery = `
-- name: precheck_token_columns
SELECT a.attname, format_type(a.atttypid, a.atttypmod), needed.type
FROM pg_attribute a
JOIN (VALUES ('user_id', 'integer', '{integer,bigint}'::text[]),
             ('access_token', 'text', '{text,character varying}'), ('refresh_token', 'text', '{text,character varying}'),
             ('expires_at', 'bigint', '{bigint,integer,timestamp with time zone,timestamp without time zone}')
     ) AS needed (name, type, usable) ON needed.name = a.attname
WHERE a.attrelid = to_regclass('user_tokens') AND NOT a.attisdropped
  AND format_type(a.atttypid, a.atttypmod) <> ALL (needed.usable)
ORDER BY a.attnum`

// tokensKeyQuery reports whether an existing table has a unique index on user_id
// alone; true when there is no table yet.
const tokensKeyQuery = `
-- name: precheck_token_key
SELECT to_regclass('user_tokens') IS NULL OR EXISTS (
	SELECT FROM pg_index i
	JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
	WHERE i.indrelid = to_regclass('user_tokens') AND i.indisunique AND i.indpred IS NULL
	  AND i.indnkeyatts = 1 AND a.attname = 'user_id')`

// checkTokens refuses a table that migrating would have to retype.
func checkTokens(ctx context.Context, conn *pgx.Conn) error {
	rows, err := conn.Query(ctx, tokensColumnsQuery)
	if err != nil {
		return err
	}
	var faults []error
	var name, has, needs string
	_, err = pgx.ForEachRow(rows, []any{&name, &has, &needs}, func() error {
		faults = append(faults, fmt.Errorf("column %q of user_tokens is %s, needed is %s; convert it first: ALTER TABLE user_tokens ALTER COLUMN %s TYPE %s",
			name, has, needs, name, needs))
		return nil
	})
	if err != nil {
		return err
	}
	var hasKey bool
	if err := conn.QueryRow(ctx, tokensKeyQuery).Scan(&hasKey); err != nil {
		return err
	}
	if !hasKey {
		faults = append(faults, errors.New("user_id alone is not unique in user_tokens; add it first: ALTER TABLE user_tokens ADD PRIMARY KEY (user_id)"))
	}
	if len(faults) > 0 {
		return fmt.Errorf("%w: %w", ErrIncompatible, errors.Join(faults...))
	}
	return nil
}

package migrations

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
)

// tokensColumnsQuery lists the columns of an existing table of tokens whose types the
// worker cannot use. Columns of bounded length are among them, because encryption
// makes a token longer by half.
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

// checkTokens returns an error for a table that migrating would have to retype.
func checkTokens(ctx context.Context, conn *pgx.Conn) error {
	faults, hasKey, err := checkColumns(ctx, conn, "user_tokens", "user_id", tokensColumnsQuery)
	if err != nil {
		return err
	}
	if !hasKey {
		faults = append(faults, errors.New("user_id alone is not unique in user_tokens; add it first: ALTER TABLE user_tokens ADD PRIMARY KEY (user_id)"))
	}
	return incompatible(faults)
}

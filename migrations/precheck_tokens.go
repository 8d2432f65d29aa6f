package migrations

import (
	"context"

	"github.com/trainingmonkey/worker/dbpool"
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

func tokensFaults(ctx context.Context, db dbpool.Querier) ([]Fault, error) {
	faults, err := columnFaults(ctx, db, "user_tokens", tokensColumnsQuery)
	if err != nil {
		return nil, err
	}
	written, err := writtenColumns("00009_tokens.sql", "user_tokens")
	if err != nil {
		return nil, err
	}
	keys, err := keyFaults(ctx, db, "user_tokens", "user_id", append(written, "user_id"))
	return append(faults, keys...), err
}

package migrations

import (
	"context"
	"slices"

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
	written = append(written, "user_id")
	keys, err := keyFaults(ctx, db, "user_tokens", "user_id", written)
	if err != nil {
		return nil, err
	}
	generated, err := generatedFaults(ctx, db, "user_tokens", written)
	return slices.Concat(faults, keys, generated), err
}

// tokenLogFaults returns the generated columns of an existing log of what was done to tokens.
func tokenLogFaults(ctx context.Context, db dbpool.Querier) ([]Fault, error) {
	written, err := writtenColumns("00009_tokens.sql", "token_audit_log")
	if err != nil {
		return nil, err
	}
	return generatedFaults(ctx, db, "token_audit_log", append(written, "user_id"))
}

package tokens

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// Loaded is what is stored for the requested users.
type Loaded struct {
	Tokens     []Token            // in ascending order of users
	Missing    []int32            // users without stored tokens, ascending
	Unreadable []*UnreadableError // users whose tokens do not decrypt
	At         time.Time          // by the server's clock; zero without tokens
}

const loadQuery = `
-- name: token_load
SELECT ` + rowColumns + `, clock_timestamp() FROM user_tokens WHERE user_id = ANY($1::int[]) ORDER BY user_id`

// Load reads the tokens of users in one query.
func (s *Store) Load(ctx context.Context, userIDs []int32) (Loaded, error) {
	wanted := slices.Compact(slices.Sorted(slices.Values(userIDs)))
	rows, _ := s.pool.Query(ctx, s.river.SQL(loadQuery), wanted)
	var loaded Loaded
	found := make(map[int32]bool, len(wanted))
	var r row
	_, err := pgx.ForEachRow(rows, append(r.targets(), &loaded.At), func() error {
		found[r.userID] = true
		token, err := s.open(&r)
		if unreadable, is := err.(*UnreadableError); is { //nolint:errorlint // open returns it unwrapped
			loaded.Unreadable = append(loaded.Unreadable, unreadable)
		} else {
			loaded.Tokens = append(loaded.Tokens, token)
		}
		return nil
	})
	if err != nil {
		return Loaded{}, fmt.Errorf("load tokens: %w", err)
	}
	for _, user := range wanted {
		if !found[user] {
			loaded.Missing = append(loaded.Missing, user)
		}
	}
	return loaded, nil
}

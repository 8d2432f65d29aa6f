package dbpool

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// DifferingSetting is a setting of a session whose value differs from the one the pool set.
type DifferingSetting struct{ Name, Want, Is string }

// readBackQuery reads settings in the units in which they are set. It leaves
// out those of TCP, which Unix sockets do not have.
const readBackQuery = `
-- name: read_back_settings
SELECT name, setting FROM pg_settings
WHERE lower(name) = ANY($1::text[]) AND name NOT LIKE 'tcp\_%'
ORDER BY name`

// DifferingSettings reads back the settings of a session of the pool, and returns
// those that differ, because a pooler in between may have dropped them.
func (p *Pool) DifferingSettings(ctx context.Context) (differing []DifferingSetting, err error) {
	want := map[string]string{}
	for name, value := range p.settings {
		want[strings.ToLower(name)] = value
	}
	rows, _ := p.Query(ctx, readBackQuery, slices.Collect(maps.Keys(want)))
	var s DifferingSetting
	_, err = pgx.ForEachRow(rows, []any{&s.Name, &s.Is}, func() error {
		s.Want = want[strings.ToLower(s.Name)]
		if !strings.EqualFold(s.Is, s.Want) {
			differing = append(differing, s)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read settings back: %w", err)
	}
	return differing, nil
}

package admin

import (
	"github.com/jackc/pgx/v5"
)

// Connections are those that the server gives the current role, by the limits of the server, the
// role and the database.
type Connections struct {
	Total int
	Free  int
}

// usedUp is the divisor of all connections that gives the free ones from which they count as
// nearly used up. The alert rule has the same limit.
const usedUp = 20

// connectionsQuery counts sessions of clients, which have a role and a database. What kind of session
// another role's is, a role without pg_read_all_stats does not see; it counts them all.
const connectionsQuery = `
-- name: snapshot_connections
SELECT least(of_server.slots, of_role.slots, of_database.slots),
       greatest(0, least(of_server.slots - used.in_all, of_role.slots - used.by_role, of_database.slots - used.in_database))
FROM (SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
             - coalesce(nullif(current_setting('reserved_connections', true), '')::int, 0) AS slots) AS of_server,
     (SELECT (SELECT nullif(rolconnlimit, -1) FROM pg_roles WHERE rolname = current_user) AS slots) AS of_role,
     (SELECT (SELECT nullif(datconnlimit, -1) FROM pg_database WHERE datname = current_database()) AS slots) AS of_database,
     (SELECT count(*) AS in_all, count(*) FILTER (WHERE usename = current_user) AS by_role,
             count(*) FILTER (WHERE datname = current_database()) AS in_database
      FROM pg_stat_activity WHERE usesysid IS NOT NULL AND datid IS NOT NULL AND coalesce(backend_type = 'client backend', true)) AS used`

func queueConnections(b *pgx.Batch, c *Connections) {
	b.Queue(connectionsQuery).QueryRow(func(row pgx.Row) error { return row.Scan(&c.Total, &c.Free) })
}

package doctor

import (
	"context"
	"fmt"
	"time"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/admin"
	"github.com/trainingmonkey/worker/internal/config"
)

// serverQuery reads the server's limits for this role and database, and its clock. A
// limit of -1 is none.
const serverQuery = `
-- name: doctor_server
SELECT current_setting('server_version_num')::int / 10000,
       least(current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
               - coalesce(nullif(current_setting('reserved_connections', true), '')::int, 0),
             (SELECT nullif(rolconnlimit, -1) FROM pg_roles WHERE rolname = current_user),
             (SELECT nullif(datconnlimit, -1) FROM pg_database WHERE datname = current_database())),
       pg_is_in_recovery(), current_setting('transaction_read_only') = 'on', clock_timestamp(), current_setting('server_encoding')`

const oldestServer = 14

// examineServer checks the server's version, mode, clock and connection limit.
func examineServer(ctx context.Context, pool *dbpool.Pool, settings config.Config) (findings []Finding, slots int) {
	var major int
	var standby, readOnly bool
	var clock time.Time
	var encoding string
	asked := time.Now()
	if err := pool.QueryRow(ctx, serverQuery).Scan(&major, &slots, &standby, &readOnly, &clock, &encoding); err != nil {
		return []Finding{unknown(pool, "server", "whether its version, mode and connections suffice is unknown", err)}, 0
	}
	answered := time.Now()
	return []Finding{
		aboutVersion(major, slots, settings.Database.MaxConns+settings.Listeners()),
		aboutReading(standby, readOnly),
		aboutClock(clock, asked, answered),
		aboutEncoding(encoding),
	}, slots
}

func aboutVersion(major, slots, one int) Finding {
	switch {
	case major < oldestServer:
		return Finding{
			"server", false, fmt.Sprintf("PostgreSQL %d", major),
			"statements of the worker need newer features", fmt.Sprintf("upgrade to PostgreSQL %d or newer", oldestServer),
		}
	case slots < one:
		return Finding{
			"server", false, fmt.Sprintf("PostgreSQL %d gives this role %d connections, and one worker takes %d", major, slots, one),
			"a lane that gets no connection stands still", "lower database.max_conns, or raise max_connections of the server, or CONNECTION LIMIT of role or database",
		}
	}
	return fine("server", "PostgreSQL %d with %d connections for this role", major, slots)
}

// aboutReading reports whether the server accepts writes.
func aboutReading(standby, readOnly bool) Finding {
	const check, why = "read-write", "every transaction of a worker writes"
	switch {
	case standby:
		return Finding{check, false, "the server is a standby", why, "name the primary in DATABASE_URL, or all servers: postgres://user@one,two/database"}
	case readOnly:
		return Finding{check, false, "transactions are read-only", why, "ALTER ROLE … SET default_transaction_read_only = off, or the same of the database"}
	}
	return fine(check, "the server is a primary")
}

// aboutClock compares the server's clock with this machine's.
func aboutClock(clock, asked, answered time.Time) Finding {
	difference := admin.ClockDifference(clock, asked, answered)
	if difference > admin.MaxClockDifference {
		return Finding{
			"clock", true, fmt.Sprintf("this machine's and the server's differ by %v", difference.Round(time.Second)),
			"logs are as wrong, and so may be what this machine thinks of certificates; workers go by the server's clock",
			"synchronize both, with chrony for instance",
		}
	}
	return fine("clock", "within %v of the server's", admin.MaxClockDifference)
}

func aboutEncoding(encoding string) Finding {
	if encoding != "UTF8" {
		return Finding{
			"encoding", true, "the database's is " + encoding, "activities whose names have other characters are rejected",
			"move to a database that was created WITH ENCODING 'UTF8'",
		}
	}
	return fine("encoding", "UTF8")
}

package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/internal/overview"
)

// serverQuery reads what the server allows to ordinary roles, and its clock.
const serverQuery = `
SELECT current_setting('server_version_num')::int / 10000,
       current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,
       pg_is_in_recovery(), current_setting('transaction_read_only') = 'on', clock_timestamp(), current_setting('server_encoding')`

const (
	oldestServer = 14
	// maxClockDifference between this machine and the server is what goes
	// unnoticed.
	maxClockDifference = 2 * time.Second
)

// checkServer asks whether the server can be worked with.
func checkServer(ctx context.Context, pool *dbpool.Pool, settings config.Config) []finding {
	var major, slots int
	var standby, readOnly bool
	var clock time.Time
	var encoding string
	asked := time.Now()
	if err := pool.QueryRow(ctx, serverQuery).Scan(&major, &slots, &standby, &readOnly, &clock, &encoding); err != nil {
		return []finding{{"server", false, err.Error()}}
	}
	answered := time.Now()
	return []finding{
		versionFinding(major, slots, settings.Database.MaxConns+1), // and the one that listens
		writableFinding(standby, readOnly),
		clockFinding(clock, asked, answered),
		encodingFinding(encoding),
	}
}

func versionFinding(major, slots, one int) finding {
	switch {
	case major < oldestServer:
		return finding{"server", false, fmt.Sprintf("PostgreSQL %d is older than %d; upgrade the server", major, oldestServer)}
	case slots < one:
		return finding{"server", false, fmt.Sprintf("gives %d connections and one worker takes %d; lower database.max_conns or raise the server's max_connections", slots, one)}
	}
	return finding{"server", true, fmt.Sprintf("PostgreSQL %d with %d connections, room for %d of these workers", major, slots, slots/one)}
}

func writableFinding(standby, readOnly bool) finding {
	switch {
	case standby:
		return finding{"writes", false, "the server is a standby, where nothing can be written; name the primary in DATABASE_URL, or all servers with target_session_attrs=read-write"}
	case readOnly:
		return finding{"writes", false, "transactions are read-only; ALTER ROLE … SET default_transaction_read_only = off, or the same of the database"}
	}
	return finding{"writes", true, "possible"}
}

// clockFinding compares the server's clock with this machine's at the moment
// nearest to it.
func clockFinding(clock, asked, answered time.Time) finding {
	var difference time.Duration
	switch {
	case clock.Before(asked):
		difference = asked.Sub(clock)
	case clock.After(answered):
		difference = clock.Sub(answered)
	}
	if difference > maxClockDifference {
		return finding{"clock", true, fmt.Sprintf("this machine's and the server's differ by %v: retries of token jobs wait as much longer or shorter, and ages on pages are as wrong; synchronize both", difference.Round(time.Second))}
	}
	return finding{"clock", true, fmt.Sprintf("within %v of the server's", maxClockDifference)}
}

func encodingFinding(encoding string) finding {
	if encoding != "UTF8" {
		return finding{"encoding", true, fmt.Sprintf("the database's is %s: activities with other characters in their names are rejected; a database with ENCODING 'UTF8' takes all", encoding)}
	}
	return finding{"encoding", true, "UTF8"}
}

// checkVacuum names what holds back vacuum; it stops no work.
func checkVacuum(ctx context.Context, pool *dbpool.Pool, longer time.Duration) finding {
	var holders []overview.VacuumHolder
	b := &pgx.Batch{}
	overview.QueueVacuumHolders(b, longer, &holders)
	if err := pool.SendBatch(ctx, b).Close(); err != nil {
		return finding{"vacuum", false, err.Error()}
	}
	if len(holders) == 0 {
		return finding{"vacuum", true, fmt.Sprintf("held back by nothing older than %v", longer)}
	}
	var named []string
	for _, h := range holders {
		named = append(named, fmt.Sprintf("%s: %s", h, h.Cure))
	}
	return finding{"vacuum", true, "held back, so that claims become slow; " + strings.Join(named, "; ")}
}

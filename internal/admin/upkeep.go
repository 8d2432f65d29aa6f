package admin

import (
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/internal/queue"
	"github.com/trainingmonkey/worker/migrations"
)

// Upkeep is missing maintenance, without which the work slows down over time, and in the
// end fails.
type Upkeep struct {
	AutovacuumOff bool     // of the whole server
	NotVacuumed   []string // tables for which autovacuum is off
	Jobs          DeadRows // of the table of jobs
	Notifications float64  // the share of the server's notification queue that is in use, 0 to 1
	Broken        []migrations.BrokenIndex
}

// DeadRows say how many dead rows of a table autovacuum waits for, by the table's settings and,
// where it has none, the server's.
type DeadRows struct {
	Table  string
	Factor float64 // share of the table's rows
	More   float64 // rows beyond that share
	Max    float64 // rows in all, -1 for no limit
}

// Of the table of jobs a larger share, or more rows, is too late: migration 24 sets a hundredth,
// and PostgreSQL's default is 50 rows more.
const (
	maxDeadShare = 0.1
	maxDeadRows  = 100_000
)

// late returns for what autovacuum waits too long and the statement that changes it; empty if
// for nothing.
func (d DeadRows) late() (what, cure string) {
	if d.Max >= 0 && d.Max <= maxDeadRows {
		return "", ""
	}
	var waits, settings []string
	if d.Factor > maxDeadShare {
		waits, settings = append(waits, fmt.Sprintf("%.0f %% of its rows", d.Factor*100)), append(settings, "autovacuum_vacuum_scale_factor = 0.01")
	}
	if d.More > maxDeadRows {
		waits, settings = append(waits, fmt.Sprintf("%.0f rows", d.More)), append(settings, "autovacuum_vacuum_threshold = 50")
	}
	if len(waits) == 0 {
		return "", ""
	}
	return fmt.Sprintf("of %s waits until %s are dead", d.Table, strings.Join(waits, " and ")), fmt.Sprintf("ALTER TABLE %s SET (%s)", d.Table, strings.Join(settings, ", "))
}

// Neglect is one missing piece of maintenance.
type Neglect struct {
	Check string // one of Checks
	What  string
	Why   string // it matters
	Cure  string // statements that end it
}

// Checks of Upkeep.
const (
	CheckAutovacuum    = "autovacuum"
	CheckIndexes       = "indexes"
	CheckNotifications = "notifications"
)

// Checks returns the checks of Upkeep.
func Checks() []string { return []string{CheckAutovacuum, CheckIndexes, CheckNotifications} }

// maxNotifications is the share of the notification queue from which PostgreSQL itself
// warns in its log.
const maxNotifications = 0.5

// upkeepQuery reads whether the server vacuums the tables that change most, after how many dead
// rows it does so for the first of them, and how full its notification queue is. The limit of
// these rows is of PostgreSQL 18 and later.
const upkeepQuery = `
-- name: snapshot_upkeep
SELECT NOT (current_setting('autovacuum')::bool AND current_setting('track_counts')::bool),
       coalesce((SELECT array_agg(c.oid::regclass::text ORDER BY c.oid::regclass::text)
                 FROM pg_class AS c, unnest(c.reloptions) AS o
                 WHERE c.oid IN ($1::text::regclass, 'activities'::regclass) AND o ~* '^autovacuum_enabled=(off|false|no|0)$'), '{}'),
       pg_notification_queue_usage(),
       jobs.name, coalesce(jobs.factor, current_setting('autovacuum_vacuum_scale_factor')::float8), coalesce(jobs.more, current_setting('autovacuum_vacuum_threshold')::float8),
       coalesce(jobs.max, nullif(current_setting('autovacuum_vacuum_max_threshold', true), '')::float8, -1)
FROM (SELECT c.oid::regclass::text AS name,
             max(split_part(o, '=', 2)) FILTER (WHERE o LIKE 'autovacuum_vacuum_scale_factor=%')::float8 AS factor,
             max(split_part(o, '=', 2)) FILTER (WHERE o LIKE 'autovacuum_vacuum_threshold=%')::float8 AS more,
             max(split_part(o, '=', 2)) FILTER (WHERE o LIKE 'autovacuum_vacuum_max_threshold=%')::float8 AS max
      FROM pg_class AS c LEFT JOIN unnest(c.reloptions) AS o ON true
      WHERE c.oid = $1::text::regclass GROUP BY c.oid) AS jobs`

// QueueUpkeep queues the reading of Upkeep.
func QueueUpkeep(b *pgx.Batch, riverSchema string, u *Upkeep) {
	b.Queue(upkeepQuery, queue.Schema(riverSchema).JobTable()).QueryRow(func(row pgx.Row) error {
		return row.Scan(&u.AutovacuumOff, &u.NotVacuumed, &u.Notifications, &u.Jobs.Table, &u.Jobs.Factor, &u.Jobs.More, &u.Jobs.Max)
	})
	migrations.QueueBrokenIndexes(b, riverSchema, &u.Broken)
}

// Neglected returns the missing maintenance, nothing if all is well.
func (u Upkeep) Neglected() (all []Neglect) {
	const unvacuumed = "finished jobs stay in table and indexes, which grow, and claims become slow"
	var vacuumed, cures []string
	if u.AutovacuumOff {
		vacuumed, cures = append(vacuumed, "off"), append(cures, "ALTER SYSTEM SET autovacuum = on; ALTER SYSTEM SET track_counts = on; SELECT pg_reload_conf()")
	} else if len(u.NotVacuumed) > 0 {
		vacuumed = append(vacuumed, "off for "+strings.Join(u.NotVacuumed, ", "))
		for _, table := range u.NotVacuumed {
			cures = append(cures, fmt.Sprintf("ALTER TABLE %s RESET (autovacuum_enabled)", table))
		}
	}
	if late, cure := u.Jobs.late(); late != "" {
		vacuumed, cures = append(vacuumed, late), append(cures, cure)
	}
	if len(vacuumed) > 0 {
		all = append(all, Neglect{CheckAutovacuum, strings.Join(vacuumed, "; "), unvacuumed, strings.Join(cures, "; ")})
	}
	if len(u.Broken) > 0 {
		var names, cures []string
		for _, index := range u.Broken {
			names = append(names, index.Name)
			cure := "REINDEX INDEX CONCURRENTLY " + index.Name
			if index.Leftover {
				cure = "DROP INDEX CONCURRENTLY " + index.Name + ", as worker migrate up does"
			}
			cures = append(cures, cure)
		}
		all = append(all, Neglect{CheckIndexes, "not valid: " + strings.Join(names, ", "), "every write maintains them for nothing", strings.Join(cures, "; ")})
	}
	if u.Notifications > maxNotifications {
		all = append(all, Neglect{
			CheckNotifications, fmt.Sprintf("fill %.0f %% of the server's queue of them", u.Notifications*100),
			"once it is full, commits that notify fail, as those do that enqueue jobs",
			"end the session that keeps them: a client that listens and is suspended or has been in a transaction for long; PostgreSQL's log names one under NOTIFY queue, and pg_stat_activity has their xact_start",
		})
	}
	return all
}

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
	Notifications float64  // the share of the server's notification queue that is in use, 0 to 1
	Broken        []migrations.BrokenIndex
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

// upkeepQuery reads whether the server vacuums the tables that change most, and how full
// its notification queue is.
const upkeepQuery = `
-- name: snapshot_upkeep
SELECT NOT (current_setting('autovacuum')::bool AND current_setting('track_counts')::bool),
       coalesce((SELECT array_agg(c.oid::regclass::text ORDER BY c.oid::regclass::text)
                 FROM pg_class AS c, unnest(c.reloptions) AS o
                 WHERE c.oid IN ($1::text::regclass, 'activities'::regclass) AND o ~* '^autovacuum_enabled=(off|false|no|0)$'), '{}'),
       pg_notification_queue_usage()`

// QueueUpkeep queues the reading of Upkeep.
func QueueUpkeep(b *pgx.Batch, riverSchema string, u *Upkeep) {
	b.Queue(upkeepQuery, queue.Schema(riverSchema).JobTable()).QueryRow(func(row pgx.Row) error {
		return row.Scan(&u.AutovacuumOff, &u.NotVacuumed, &u.Notifications)
	})
	migrations.QueueBrokenIndexes(b, riverSchema, &u.Broken)
}

// Neglected returns the missing maintenance, nothing if all is well.
func (u Upkeep) Neglected() (all []Neglect) {
	const unvacuumed = "finished jobs stay in table and indexes, which grow, and claims become slow"
	switch {
	case u.AutovacuumOff:
		all = append(all, Neglect{CheckAutovacuum, "off", unvacuumed, "ALTER SYSTEM SET autovacuum = on; ALTER SYSTEM SET track_counts = on; SELECT pg_reload_conf()"})
	case len(u.NotVacuumed) > 0:
		var cures []string
		for _, table := range u.NotVacuumed {
			cures = append(cures, fmt.Sprintf("ALTER TABLE %s RESET (autovacuum_enabled)", table))
		}
		all = append(all, Neglect{CheckAutovacuum, "off for " + strings.Join(u.NotVacuumed, ", "), unvacuumed, strings.Join(cures, "; ")})
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

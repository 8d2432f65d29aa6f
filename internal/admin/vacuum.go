package admin

import (
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
)

// VacuumHolder is a session, slot or transaction with an old snapshot, for which vacuum
// must keep dead rows: rows of finished jobs pile up and claims become slow.
type VacuumHolder struct {
	What string
	Age  float64 // in seconds, 0 if unknown
	Cure string  // the statement that ends it
}

// String returns what it is and, if known, its age.
func (h VacuumHolder) String() string {
	if h.Age == 0 {
		return h.What
	}
	return h.What + " for " + HumanReadable(time.Duration(h.Age*float64(time.Second)))
}

// HeldBackFor is how long something may hold back vacuum before it is reported.
const HeldBackFor = 10 * time.Minute

// vacuumQuery finds what has held back vacuum for longer than given, the oldest first.
// Seeing sessions of other roles requires pg_read_all_stats.
const vacuumQuery = `
-- name: snapshot_vacuum
SELECT format('session %s (%s)', pid, coalesce(nullif(application_name, ''), usename, 'unnamed')),
       extract(epoch FROM now() - xact_start)::float8 AS age, format('SELECT pg_terminate_backend(%s)', pid)
FROM pg_stat_activity WHERE backend_xmin IS NOT NULL AND xact_start < now() - $1::interval AND pid <> pg_backend_pid()
UNION ALL
SELECT format('prepared transaction %L', gid), extract(epoch FROM now() - prepared)::float8, format('ROLLBACK PREPARED %L', gid)
FROM pg_prepared_xacts WHERE prepared < now() - $1::interval
UNION ALL
SELECT format('replication slot %s, which nobody reads', slot_name), 0, format('SELECT pg_drop_replication_slot(%L)', slot_name)
FROM pg_replication_slots WHERE NOT active AND (xmin IS NOT NULL OR catalog_xmin IS NOT NULL)
ORDER BY age DESC
LIMIT 10`

// QueueVacuumHolders queues the reading of what has held back vacuum for longer.
func QueueVacuumHolders(b *pgx.Batch, longer time.Duration, holders *[]VacuumHolder) {
	b.Queue(vacuumQuery, longer).Query(dbpool.Into(holders))
}

package admin

import (
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
)

// Vacuum is what holds back vacuum, so that it must keep dead rows: rows of finished jobs
// pile up and claims become slow.
type Vacuum struct {
	Holders    []VacuumHolder
	HiddenFrom string // the quoted role that does not see for how long other roles hold it back; empty if it does
}

// VacuumHolder is a session, slot or transaction with an old snapshot or transaction id.
type VacuumHolder struct {
	What         string
	Age          float64 // in seconds, 0 if unknown
	Transactions int64   // begun since, whose dead rows stay
	Cure         string  // what ends it, a statement where that can be
}

// String returns what it is and, as far as known, its age.
func (h VacuumHolder) String() string {
	switch {
	case h.Age == 0 && h.Transactions == 0:
		return h.What
	case h.Age == 0:
		return h.What + " for " + counted(int(h.Transactions), "transaction", "transactions")
	}
	return h.What + " for " + HumanReadable(time.Duration(h.Age*float64(time.Second)))
}

// Something that holds back vacuum is reported after this time or, where the time is
// unknown, after this many transactions of the server. The alert rule has the
// second limit.
const (
	HeldBackFor = 10 * time.Minute
	HeldBackBy  = 100_000
)

// GrantStats returns the statement that shows the role what it does not see.
func (v Vacuum) GrantStats() string { return "GRANT pg_read_all_stats TO " + v.HiddenFrom }

// vacuumQuery finds what has held back vacuum for longer than given, the oldest first. It
// reads transaction ids besides snapshots, because a session that wrote and is idle since
// has no snapshot. Without pg_read_all_stats both are visible, and the start of other
// roles' transactions is not. A standby has no start either. Not counted are sessions that
// vacuum leaves out of account: other vacuums, and those in other databases; and slots that
// have lost their WAL. Slots have inactive_since from PostgreSQL 17 on.
const vacuumQuery = `
-- name: snapshot_vacuum
SELECT what, coalesce(extract(epoch FROM now() - since), 0)::float8, transactions::int8, cure
FROM (
    SELECT CASE WHEN r.pid IS NULL THEN format('session %s (%s)', s.pid, coalesce(nullif(s.application_name, ''), s.usename, 'unnamed'))
                ELSE format('standby %s, by hot_standby_feedback', coalesce(nullif(s.application_name, ''), s.pid::text)) END AS what,
           s.xact_start AS since, s.transactions,
           CASE WHEN r.pid IS NULL THEN format('SELECT pg_terminate_backend(%s)', s.pid)
                ELSE 'on the standby, end its oldest transaction, or set hot_standby_feedback = off' END AS cure
    FROM (SELECT *, greatest(age(backend_xid), age(backend_xmin)) AS transactions FROM pg_stat_activity) AS s
         LEFT JOIN pg_stat_replication AS r ON r.pid = s.pid
    WHERE coalesce(s.xact_start < now() - $1::interval, s.transactions >= $2) AND s.transactions IS NOT NULL AND s.pid <> pg_backend_pid()
      AND (s.datid IS NULL OR s.datname = current_database())
      AND NOT EXISTS (SELECT FROM pg_stat_progress_vacuum AS v WHERE v.pid = s.pid)
    UNION ALL
    SELECT format('prepared transaction %L', gid), prepared, age(transaction), format('ROLLBACK PREPARED %L', gid)
    FROM pg_prepared_xacts WHERE prepared < now() - $1::interval AND database = current_database()
    UNION ALL
    SELECT format('replication slot %s', slot_name) || CASE WHEN xmin IS NULL THEN ', of catalogs only' ELSE '' END || CASE WHEN active THEN '' ELSE ', which nobody reads' END,
           inactive_since, transactions,
           CASE WHEN NOT active THEN format('SELECT pg_drop_replication_slot(%L)', slot_name)
                WHEN slot_type = 'physical' THEN 'on its standby, end the oldest transaction, or set hot_standby_feedback = off'
                ELSE 'have its reader confirm what it has received' END
    FROM (SELECT slot_name, slot_type, active, wal_status, xmin, greatest(age(xmin), age(catalog_xmin)) AS transactions,
                 (to_jsonb(p)->>'inactive_since')::timestamptz AS inactive_since
          FROM pg_replication_slots AS p) AS slots
    WHERE transactions IS NOT NULL AND wal_status IS DISTINCT FROM 'lost'
      AND (transactions >= $2 OR (NOT active AND coalesce(inactive_since < now() - $1::interval, true)))
) AS holders
ORDER BY transactions DESC, since
LIMIT 10`

// hiddenQuery reads from which role the start of other roles' transactions is hidden.
const hiddenQuery = `
-- name: snapshot_vacuum_hidden
SELECT CASE WHEN pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') THEN '' ELSE quote_ident(current_user) END`

// QueueVacuum queues the reading of what has held back vacuum for longer or, where the
// time is unknown, by that many transactions.
func QueueVacuum(b *pgx.Batch, longer time.Duration, transactions int64, v *Vacuum) {
	b.Queue(vacuumQuery, longer, transactions).Query(dbpool.Into(&v.Holders))
	b.Queue(hiddenQuery).QueryRow(func(row pgx.Row) error { return row.Scan(&v.HiddenFrom) })
}

package doctor

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/admin"
	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/internal/queue"
	"github.com/trainingmonkey/worker/migrations"
	"github.com/trainingmonkey/worker/workers"
)

// examineMigrations finds missing migrations, and changes to the application's tables since
// with which migrating would refuse them.
func examineMigrations(ctx context.Context, pool *dbpool.Pool, settings config.Config) Finding {
	const check = "migrations"
	if err := migrations.Check(ctx, pool.Pool, settings.River.Schema); err != nil {
		return unknown(pool, check, "whether the tables are those of this version is unknown", err)
	}
	faults, err := migrations.FindFaults(ctx, pool)
	if err != nil {
		return unknown(pool, check, "whether the application's tables can still be written is unknown", err)
	}
	if len(faults) == 0 {
		return fine(check, "up to date")
	}
	var found, cures []string
	for _, f := range faults {
		found, cures = append(found, f.About), append(cures, f.Cure)
	}
	return Finding{check, false, "up to date, but the application's tables were changed: " + sentence(found), "jobs that need them fail", sentence(cures)}
}

// examinePrivileges finds missing privileges and policies that limit commands to some rows.
func examinePrivileges(ctx context.Context, pool *dbpool.Pool, settings config.Config) Finding {
	const check = "privileges"
	needed, err := migrations.NeededPrivileges(ctx, pool, settings.River.Schema)
	if err != nil {
		return unknown(pool, check, "what the role lacks fails for every job", err)
	}
	role := pgx.Identifier{pool.Config().ConnConfig.User}.Sanitize()
	var missing, missed []string
	var limits rowLimits
	for _, p := range needed {
		switch {
		case !p.Has && p.Commands:
			missed = append(missed, p.Needs+" ON "+p.On)
		case !p.Has:
			missing = append(missing, p.Needs+" ON "+p.On)
		case len(p.Limited) > 0:
			limits.add(p, role)
		}
	}
	grant := "as the owner of the tables: worker migrate up --worker-role " + role
	switch {
	case len(missing) > 0:
		return Finding{check, false, fmt.Sprintf("role %s lacks %s", role, sentence(missing)), "what needs them fails for every job", grant}
	case len(limits.limited) > 0:
		return Finding{
			check, false, fmt.Sprintf("row-level security limits role %s to some rows: %s", role, sentence(limits.limited)),
			"edits of rows that it hides would be lost without an error, and results would not be correct", limits.cure(role),
		}
	}
	if len(missed) > 0 {
		return Finding{check, true, fmt.Sprintf("role %s lacks %s", role, sentence(missed)), "workers work without; of the commands, enqueue athlete purge or enqueue acwr is refused, or enqueue rejects list shows no codes", grant}
	}
	return fine(check, "all that work needs, on all rows")
}

// rowLimits are the tables of which row-level security keeps rows from a role.
type rowLimits struct {
	limited, policies []string
	restricted        bool
}

func (l *rowLimits) add(p migrations.Privilege, role string) {
	limited := strings.Join(p.Limited, ", ") + " ON " + p.On
	if len(p.Restrictive) > 0 {
		limited += fmt.Sprintf(" (policy %s is restrictive)", strings.Join(p.Restrictive, ", "))
		l.restricted = true
	}
	rule := "FOR ALL TO " + role + " USING (true) WITH CHECK (true)"
	if p.Needs == "SELECT" {
		rule = "FOR SELECT TO " + role + " USING (true)"
	}
	l.limited = append(l.limited, limited)
	l.policies = append(l.policies, fmt.Sprintf("CREATE POLICY worker_all_rows ON %s %s", strings.TrimPrefix(p.On, "TABLE "), rule))
}

// cure lets the role reach all rows. Policies cannot where one is restrictive.
func (l *rowLimits) cure(role string) string {
	bypass := fmt.Sprintf("ALTER ROLE %s BYPASSRLS", role)
	if l.restricted {
		return bypass
	}
	return sentence(l.policies) + "; or " + bypass
}

// tryQuery makes every worker's first write, in a transaction that is rolled back.
const tryQuery = `
-- name: doctor_try
INSERT INTO worker_processes (client_id, beat_at) VALUES ('worker check ' || gen_random_uuid(), '-infinity')`

func examineWrites(ctx context.Context, pool *dbpool.Pool) Finding {
	tx, err := pool.Begin(ctx)
	if err != nil {
		return unknown(pool, "writes", "every worker begins with this write, and every job writes", err)
	}
	defer func() { _ = tx.Rollback(ctx) }()
	if _, err := tx.Exec(ctx, tryQuery); err != nil {
		return unknown(pool, "writes", "every worker begins with this write, and every job writes", err)
	}
	return fine("writes", "possible: one was tried and rolled back")
}

// examineWorkers compares the server's connection limit with the needs of the live
// workers and one more, which a rolling deploy starts.
func examineWorkers(ctx context.Context, pool *dbpool.Pool, slots, one int) Finding {
	alive, err := queue.AliveProcesses(ctx, pool)
	if err != nil {
		return unknown(pool, "workers", "a worker registers itself among these, and reads the others", err)
	}
	return aboutWorkers(alive, slots, one)
}

func aboutWorkers(alive, slots, one int) Finding {
	room := slots / one
	if alive+1 > room {
		return Finding{
			"workers", true, fmt.Sprintf("%d alive, and with settings like these the server has room for %d", alive, room),
			"one more, as in a rolling deploy, may get no connections", "lower database.max_conns, or raise max_connections of the server",
		}
	}
	return fine("workers", "%d alive, and with settings like these the server has room for %d", alive, room)
}

func examineJobIDs(ctx context.Context, pool *dbpool.Pool, settings config.Config) Finding {
	ids, err := workers.ReadIDs(ctx, pool, queue.Schema(settings.River.Schema))
	switch {
	case err != nil:
		return unknown(pool, JobIDs, "newer versions of activities might pass for older ones", err)
	case ids.WentBack():
		return Finding{
			JobIDs, false, fmt.Sprintf("the ids of jobs went back: job %d stored an activity, and the newest id is %d", ids.Stored, ids.Last),
			"newer versions of activities would pass for older ones", "worker migrate up, or start a worker: the ids go on beyond",
		}
	}
	return fine(JobIDs, "beyond every version that is stored; the newest is %d", ids.Last)
}

// examineVacuum finds what has held back vacuum for longer than the given time.
func examineVacuum(ctx context.Context, pool *dbpool.Pool, longer time.Duration) Finding {
	var vacuum admin.Vacuum
	b := &pgx.Batch{}
	admin.QueueVacuum(b, longer, admin.HeldBackBy, &vacuum)
	if err := pool.SendBatch(ctx, b).Close(); err != nil {
		return unknown(pool, "vacuum", "finished jobs may stay in the indexes, and claims become slow", err)
	}
	return aboutVacuum(vacuum, longer)
}

func aboutVacuum(vacuum admin.Vacuum, longer time.Duration) Finding {
	const check, slow = "vacuum", "finished jobs stay in the indexes, and claims become slow"
	var named, cures []string
	for _, h := range vacuum.Holders {
		named, cures = append(named, h.String()), append(cures, h.Cure)
	}
	if vacuum.HiddenFrom != "" {
		cures = append(cures, "as a superuser: "+vacuum.GrantStats())
	}
	switch {
	case len(named) > 0:
		return Finding{check, true, "held back by " + sentence(named), slow, sentence(cures)}
	case vacuum.HiddenFrom != "":
		return Finding{
			check, true, fmt.Sprintf("held back by nothing that role %s sees: for how long other roles' transactions are open is hidden from it", vacuum.HiddenFrom),
			fmt.Sprintf("a forgotten session of another role shows only after %d transactions of the server; until then %s", admin.HeldBackBy, slow), sentence(cures),
		}
	}
	return fine(check, "held back by nothing older than %v", longer)
}

// examineUpkeep finds missing maintenance.
func examineUpkeep(ctx context.Context, pool *dbpool.Pool, settings config.Config) (findings []Finding) {
	var upkeep admin.Upkeep
	b := &pgx.Batch{}
	admin.QueueUpkeep(b, settings.River.Schema, &upkeep)
	if err := pool.SendBatch(ctx, b).Close(); err != nil {
		for _, check := range admin.Checks() {
			findings = append(findings, unknown(pool, check, "without maintenance the work becomes slow, and in the end fails", err))
		}
		return findings
	}
	found := map[string]Finding{
		admin.CheckAutovacuum:    fine(admin.CheckAutovacuum, "on, and of the table of jobs in time"),
		admin.CheckIndexes:       fine(admin.CheckIndexes, "valid"),
		admin.CheckNotifications: fine(admin.CheckNotifications, "fill %.0f %% of the server's queue of them", upkeep.Notifications*100),
	}
	for _, n := range upkeep.Neglected() {
		found[n.Check] = Finding{n.Check, true, n.What, n.Why, n.Cure}
	}
	for _, check := range admin.Checks() {
		findings = append(findings, found[check])
	}
	return findings
}

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

func examineMigrations(ctx context.Context, pool *dbpool.Pool, settings config.Config) Finding {
	if err := migrations.Check(ctx, pool.Pool, settings.River.Schema); err != nil {
		return unknown("migrations", err)
	}
	return fine("migrations", "up to date")
}

// examinePrivileges finds missing privileges and policies that hide rows.
func examinePrivileges(ctx context.Context, pool *dbpool.Pool, settings config.Config) Finding {
	const check = "privileges"
	needed, err := migrations.NeededPrivileges(ctx, pool, settings.River.Schema)
	if err != nil {
		return unknown(check, err)
	}
	var missing, missed, hidden []string
	for _, p := range needed {
		switch {
		case !p.Has && p.Commands:
			missed = append(missed, p.Needs+" ON "+p.On)
		case !p.Has:
			missing = append(missing, p.Needs+" ON "+p.On)
		case p.Hidden:
			hidden = append(hidden, strings.ToLower(p.On))
		}
	}
	role := pgx.Identifier{pool.Config().ConnConfig.User}.Sanitize()
	grant := "as the owner of the tables: worker migrate up --worker-role " + role
	switch {
	case len(missing) > 0:
		return Finding{check, false, fmt.Sprintf("role %s lacks %s", role, sentence(missing)), "what needs them fails for every job", grant}
	case len(hidden) > 0:
		return Finding{
			check, false, fmt.Sprintf("row-level security hides rows of %s from role %s", strings.Join(hidden, ", "), role), "their results would never be right",
			fmt.Sprintf("ALTER ROLE %[1]s BYPASSRLS, or a policy FOR SELECT TO %[1]s USING (true)", role),
		}
	}
	if len(missed) > 0 {
		return Finding{check, true, fmt.Sprintf("role %s lacks %s", role, sentence(missed)), "workers work without; enqueue athlete purge is refused, enqueue rejects list shows no codes", grant}
	}
	return fine(check, "all that work needs, on all rows")
}

// tryQuery makes every worker's first write, in a transaction that is rolled back.
const tryQuery = `
-- name: doctor_try
INSERT INTO worker_processes (client_id, beat_at) VALUES ('worker check ' || gen_random_uuid(), '-infinity')`

func examineWrites(ctx context.Context, pool *dbpool.Pool) Finding {
	tx, err := pool.Begin(ctx)
	if err != nil {
		return unknown("writes", err)
	}
	defer func() { _ = tx.Rollback(ctx) }()
	if _, err := tx.Exec(ctx, tryQuery); err != nil {
		return unknown("writes", err)
	}
	return fine("writes", "possible: one was tried and rolled back")
}

// examineWorkers compares the server's connection limit with the needs of the live
// workers and one more, which a rolling deploy starts.
func examineWorkers(ctx context.Context, pool *dbpool.Pool, slots, one int) Finding {
	alive, err := queue.AliveProcesses(ctx, pool)
	if err != nil {
		return unknown("workers", err)
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
		return unknown(JobIDs, err)
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
	var holders []admin.VacuumHolder
	b := &pgx.Batch{}
	admin.QueueVacuumHolders(b, longer, &holders)
	if err := pool.SendBatch(ctx, b).Close(); err != nil {
		return unknown("vacuum", err)
	}
	if len(holders) == 0 {
		return fine("vacuum", "held back by nothing older than %v", longer)
	}
	var named, cures []string
	for _, h := range holders {
		named, cures = append(named, h.String()), append(cures, h.Cure)
	}
	return Finding{"vacuum", true, "held back by " + sentence(named), "finished jobs stay in the indexes, and claims become slow", sentence(cures)}
}

// examineUpkeep finds missing maintenance.
func examineUpkeep(ctx context.Context, pool *dbpool.Pool, settings config.Config) []Finding {
	var upkeep admin.Upkeep
	b := &pgx.Batch{}
	admin.QueueUpkeep(b, settings.River.Schema, &upkeep)
	if err := pool.SendBatch(ctx, b).Close(); err != nil {
		return []Finding{unknown(admin.CheckAutovacuum, err), unknown(admin.CheckIndexes, err)}
	}
	autovacuum, indexes := fine(admin.CheckAutovacuum, "on"), fine(admin.CheckIndexes, "valid")
	for _, n := range upkeep.Neglected() {
		finding := Finding{n.Check, true, n.What, n.Why, n.Cure}
		if n.Check == admin.CheckAutovacuum {
			autovacuum = finding
		} else {
			indexes = finding
		}
	}
	return []Finding{autovacuum, indexes}
}

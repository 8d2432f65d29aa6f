package doctor

import (
	"errors"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/migrations"
)

// unknown returns the finding for a check that failed with an error. why says what the
// check would have found.
func unknown(pool *dbpool.Pool, check, why string, err error) Finding {
	about := err.Error()
	if unready, ok := errors.AsType[*migrations.UnreadyError](err); ok {
		return Finding{Check: check, About: strings.TrimSuffix(about, "; "+unready.Cure), Why: unready.Why, Cure: unready.Cure}
	}
	return Finding{Check: check, About: about, Why: why, Cure: remedy(err, pgx.Identifier{pool.Config().ConnConfig.User}.Sanitize())}
}

// cures are what ends errors of the server, by SQLSTATE or its class.
var cures = map[string]string{
	"08":    "check the server, the network and whatever is between: DATABASE_URL names it",
	"25006": "name the primary in DATABASE_URL, or ALTER ROLE … SET default_transaction_read_only = off",
	"28":    "correct user and password in DATABASE_URL, or let the server's pg_hba.conf admit them",
	"3D":    "correct the database in DATABASE_URL, or create it: CREATE DATABASE …",
	"40":    "check again: another transaction was in the way",
	"42P":   "the tables were changed after migrating: undo that, or restore them",
	"427":   "the tables were changed after migrating: undo that, or restore them",
	"428":   "the tables were changed after migrating: undo that, or restore them",
	"53100": "free space on the server's disks, or enlarge them",
	"53300": "end sessions that nobody needs (pg_stat_activity), or raise max_connections of the server, or CONNECTION LIMIT of role or database",
	"53":    "give the server more of what it lacks; its log says what",
	"55P03": "end the session that has the lock: SELECT pid, pg_blocking_pids(pid), query FROM pg_stat_activity WHERE cardinality(pg_blocking_pids(pid)) > 0",
	"57014": "find out what the server is busy with (SELECT pid, state, wait_event, query FROM pg_stat_activity), or raise database.statement_timeout",
	"57P":   "check again once the server has started",
	"58":    "repair the server's disk; its log says which file",
	"P0":    "change the trigger or function that raises it so that it lets the worker's writes through",
	"23":    "drop or correct the constraint, which is none of the worker's",
	"XX":    "check again; if it stays, the server is damaged or has a bug: its log says more",
}

// remedy returns what ends an error that a statement of role failed with.
func remedy(err error, role string) string {
	state := dbpool.SQLState(err)
	switch {
	case state == dbpool.InsufficientPrivilege:
		return "as the owner of the tables: worker migrate up --worker-role " + role
	case state == "" && dbpool.LostConnection(err):
		return "check that the server runs and answers, and that DATABASE_URL is correct"
	case state == "":
		return "check again; if it stays, the server's log has more, under application_name worker check"
	}
	for length := len(state); length > 1; length-- {
		if cure := cures[state[:length]]; cure != "" {
			return cure
		}
	}
	return "the server's log has the statement and more, under SQLSTATE " + state
}

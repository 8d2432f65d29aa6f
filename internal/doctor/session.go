package doctor

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/trainingmonkey/worker/dbpool"
)

// way is the kind of pooler between this machine and the server.
type way int

const (
	direct            way = iota
	sessionPooler         // keeps one server session for each connection
	transactionPooler     // may give each transaction another session
	unpreparedPooler      // the same, and loses prepared statements
	statementPooler       // may give each statement another session, so that there are no transactions
)

const (
	// poolerTimeout bounds the search for a pooler, because one without a free
	// session makes clients wait.
	poolerTimeout = 10 * time.Second
	hangUpTime    = time.Second
)

// examineSession reads back the settings of one of the pool's sessions.
func examineSession(ctx context.Context, pool *dbpool.Pool, between way) Finding {
	const check = "session settings"
	differing, err := pool.DifferingSettings(ctx)
	if err != nil {
		return unknown(pool, check, "the timeouts that free what a frozen worker holds may not be in effect", err)
	}
	if len(differing) == 0 {
		return fine(check, "as the worker set them, whatever role and database have")
	}
	var found, cures []string
	for _, s := range differing {
		found = append(found, fmt.Sprintf("%s is %q, not %q", s.Name, s.Is, s.Want))
		value := "'" + s.Want + "'"
		if s.Name == "search_path" { // a list of names, not one
			value = s.Want
		}
		cures = append(cures, fmt.Sprintf("ALTER ROLE %s SET %s = %s", pgx.Identifier{pool.Config().ConnConfig.User}.Sanitize(), s.Name, value))
	}
	return Finding{
		Check: check, OK: between == transactionPooler, About: sentence(found),
		Why:  "the timeouts that free what a frozen worker holds, and the isolation that reads after a lock rely on, are these",
		Cure: sentence(cures),
	}
}

// examineWay finds the kind of pooler, with two connections of its own.
func examineWay(ctx context.Context, pool *dbpool.Pool, pollOnly bool) (Finding, way) {
	const check = "connection"
	searching, cancel := context.WithTimeout(ctx, poolerTimeout)
	defer cancel()
	between, err := findWay(searching, pool.Config().ConnConfig)
	if err != nil {
		return unknown(pool, check, "workers may get no connections either, and which pooler is between is unknown", err), direct
	}
	target := dbpool.Target(pool.Config().ConnConfig)
	switch {
	case between == direct:
		return fine(check, "%s, directly", target), between
	case between == sessionPooler:
		return fine(check, "%s, by way of a pooler in session mode", target), between
	case between == statementPooler:
		return Finding{
			check, false, target + ", by way of a pooler in statement mode", "it has no transactions, and each claim is one",
			"pool_mode = session, or transaction with river.poll_only: true; or connect to PostgreSQL directly",
		}, between
	case between == unpreparedPooler:
		return Finding{
			check, false, target + ", by way of a pooler in transaction mode that loses prepared statements", "every second statement would fail",
			"add default_query_exec_mode=cache_describe to the query of DATABASE_URL; or max_prepared_statements = 200, from PgBouncer 1.21 on; or pool_mode = session",
		}, between
	case !pollOnly:
		return Finding{
			check, false, target + ", by way of a pooler in transaction mode", "it passes no notifications on, so that nothing wakes the lanes",
			"river.poll_only: true, or pool_mode = session",
		}, between
	}
	return fine(check, "%s, by way of a pooler in transaction mode", target), between
}

// findWay compares the sessions behind two connections. There is a pooler if the session
// differs from the one that the server announced on connecting. It is in transaction mode
// if a connection's next transaction has another session. Most poolers assign the session
// that was released last, so every second time another connection occupies it meanwhile;
// others assign sessions in rotation. It checks several times, because other clients
// interfere.
func findWay(ctx context.Context, config *pgx.ConnConfig) (way, error) {
	one, err := pgx.ConnectConfig(ctx, config.Copy())
	if err != nil {
		return direct, err
	}
	defer hangUp(ctx, one)
	session, err := backendPID(ctx, one)
	if err != nil || session == one.PgConn().PID() {
		return direct, err
	}
	two, err := pgx.ConnectConfig(ctx, config.Copy())
	if err != nil {
		return direct, err
	}
	defer hangUp(ctx, two)
	for attempt := range 20 {
		between, err := compareTransactions(ctx, one, two, attempt%2 == 0)
		if err != nil || between != sessionPooler {
			return between, err
		}
		time.Sleep(5 * time.Millisecond)
	}
	return sessionPooler, nil
}

// compareTransactions prepares a statement in one transaction and executes it in the
// next, if that has another session; if not, it returns sessionPooler. With occupy
// another connection has a transaction open in between.
func compareTransactions(ctx context.Context, one, two *pgx.Conn, occupy bool) (way, error) {
	statement := "worker_doctor_" + rand.Text() // in no session yet
	first, begun, err := begin(ctx, one)
	if err != nil {
		return direct, err
	}
	if !begun {
		return statementPooler, nil
	}
	_, err = one.PgConn().Prepare(ctx, statement, "SELECT 1", nil)
	prepared, err := unlessRefused(err)
	if err = errors.Join(err, rollback(ctx, one)); err != nil {
		return direct, err
	}
	if occupy {
		if _, _, err := begin(ctx, two); err != nil {
			return direct, err
		}
	}
	second, _, err := begin(ctx, one)
	if err != nil {
		return direct, err
	}
	between, in := sessionPooler, one // whose session has the statement
	if second != first {
		between, in = transactionPooler, two
		if prepared {
			if prepared, err = unlessRefused(one.PgConn().ExecPrepared(ctx, statement, nil, nil, nil).Read().Err); err != nil {
				return direct, err
			}
		}
		if !prepared && one.Config().DefaultQueryExecMode == pgx.QueryExecModeCacheStatement {
			between = unpreparedPooler
		}
	}
	_, _ = in.PgConn().Exec(ctx, "DEALLOCATE "+statement).ReadAll()
	return between, errors.Join(rollback(ctx, one), rollback(ctx, two))
}

// begin begins a transaction and returns its session, if it succeeds.
func begin(ctx context.Context, conn *pgx.Conn) (session uint32, begun bool, err error) {
	_, err = conn.PgConn().Exec(ctx, "BEGIN").ReadAll()
	if begun, err = unlessRefused(err); err != nil || !begun {
		return 0, false, err
	}
	session, err = backendPID(ctx, conn)
	return session, true, err
}

func rollback(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.PgConn().Exec(ctx, "ROLLBACK").ReadAll()
	return err
}

// unlessRefused reports whether err is nil. A refusal by the server is an
// answer and not an error.
func unlessRefused(err error) (bool, error) {
	if _, refused := errors.AsType[*pgconn.PgError](err); refused {
		return false, nil
	}
	return err == nil, err
}

// backendPID uses the simple protocol, which every pooler supports.
func backendPID(ctx context.Context, conn *pgx.Conn) (pid uint32, err error) {
	results, err := conn.PgConn().Exec(ctx, "SELECT pg_backend_pid()").ReadAll()
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(string(results[0].Rows[0][0]), 10, 32)
	return uint32(n), err
}

func hangUp(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), hangUpTime)
	defer cancel()
	_ = conn.Close(ctx)
}

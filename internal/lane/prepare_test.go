package lane

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/trainingmonkey/worker/dbpool"
)

// TestLoopsPrepareTheirSessions: a loop's first transaction finds its statements prepared.
func TestLoopsPrepareTheirSessions(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	session, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(session.Release)
	prepared := make(chan int, 1)
	kind := effectKind()
	apply := kind.Apply
	kind.Apply = func(ctx context.Context, tx pgx.Tx, first *pgx.Batch, batch []*Job[effectArgs]) (Writes, error) {
		var n int
		if err := tx.QueryRow(ctx, `SELECT count(*) FROM pg_prepared_statements WHERE statement = $1 OR strpos(statement, 'name: ' || 'complete_') > 0`, insertEffects).Scan(&n); err != nil {
			return Writes{}, err
		}
		prepared <- n
		return apply(ctx, tx, first, batch)
	}
	insert(t, pool, 1)
	o := testOptions(t)
	o.Loops = 1
	running(t, New(oneSession{session, pool}, o, kind))
	if n := <-prepared; n != 2 {
		t.Errorf("the session has prepared %d of the two statements that write, want both", n)
	}
}

// oneSession is a database that has one session.
type oneSession struct {
	*pgxpool.Conn
	pool *dbpool.Pool
}

func (s oneSession) BeginQuery(settings map[string]string) string { return s.pool.BeginQuery(settings) }

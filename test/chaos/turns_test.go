//go:build chaos

package chaos

import (
	"context"
	"math/rand/v2"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/internal/lane"
)

// turns counts what a lane reports about its transactions.
type turns struct {
	mu                                 sync.Mutex
	transactions, tries, maxSavepoints int
}

// Transacted implements lane.Observer.
func (s *turns) Transacted(t lane.Transaction) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.transactions++
	s.tries += t.Savepoints
	s.maxSavepoints = max(s.maxSavepoints, t.Savepoints)
}

// Committed implements lane.Observer.
func (*turns) Committed(time.Duration) {}

// savepointCounter counts the savepoints of each transaction as they are sent.
type savepointCounter struct {
	mu      sync.Mutex
	current map[*pgx.Conn]int
	highest int
}

func (c *savepointCounter) sent(conn *pgx.Conn, sql string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current == nil {
		c.current = map[*pgx.Conn]int{}
	}
	switch {
	case strings.HasPrefix(sql, "begin"):
		c.current[conn] = 0
	case strings.HasPrefix(sql, "SAVEPOINT"):
		c.current[conn]++
		c.highest = max(c.highest, c.current[conn])
	}
}

func (c *savepointCounter) maxSavepoints() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.highest
}

// TraceQueryStart implements pgx.QueryTracer.
func (c *savepointCounter) TraceQueryStart(ctx context.Context, conn *pgx.Conn, d pgx.TraceQueryStartData) context.Context {
	c.sent(conn, d.SQL)
	return ctx
}

// TraceQueryEnd implements pgx.QueryTracer.
func (*savepointCounter) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// TraceBatchStart implements pgx.BatchTracer.
func (c *savepointCounter) TraceBatchStart(ctx context.Context, conn *pgx.Conn, d pgx.TraceBatchStartData) context.Context {
	for _, q := range d.Batch.QueuedQueries {
		c.sent(conn, q.SQL)
	}
	return ctx
}

// TraceBatchQuery implements pgx.BatchTracer.
func (*savepointCounter) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

// TraceBatchEnd implements pgx.BatchTracer.
func (*savepointCounter) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) {}

func randomLetters(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('a' + rand.IntN(26))
	}
	return string(b)
}

// roleURL returns the database's URL for another role.
func (r *rig) roleURL(role, password string) string {
	r.Helper()
	u, err := url.Parse(r.url)
	if err != nil {
		r.Fatal(err)
	}
	u.User = url.UserPassword(role, password)
	return u.String()
}

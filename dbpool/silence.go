package dbpool

import (
	"context"
	"net"
	"sync/atomic"
	"time"
)

// silenceMargin is how much longer than statement_timeout a server may take to answer.
const silenceMargin = 5 * time.Second

// dialWatchful returns a dial function whose connections fail if the server
// does not answer for longer than any statement may take. Without it a
// half-open connection, with no FIN and no RST, would block a caller for ever
// whose context has no deadline, such as River's fetch.
func dialWatchful(statementTimeout time.Duration) func(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := PlainDialer()
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &watchfulConn{Conn: conn, maxSilence: statementTimeout + silenceMargin}, nil
	}
}

// PlainDialer returns a dialer that detects a vanished peer by TCP keep-alive within
// half a minute. It does not limit how long a statement takes.
func PlainDialer() *net.Dialer {
	return &net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}}
}

// watchfulConn bounds the first read after each write: the answer to a request. Reads
// without a request, as on a LISTEN connection, may wait for ever.
type watchfulConn struct {
	net.Conn
	maxSilence time.Duration
	asked      atomic.Bool  // written to since the last successful read
	deadline   atomic.Int64 // the caller's own, in Unix nanoseconds, 0 for none
}

// Write implements net.Conn.
func (c *watchfulConn) Write(b []byte) (int, error) {
	c.asked.Store(true)
	return c.Conn.Write(b)
}

// Read implements net.Conn.
func (c *watchfulConn) Read(b []byte) (int, error) {
	if c.asked.Load() {
		limit := time.Now().Add(c.maxSilence)
		if own := c.deadline.Load(); own == 0 || own > limit.UnixNano() {
			if err := c.Conn.SetReadDeadline(limit); err != nil {
				return 0, err
			}
			// The caller may have set its own in between; it must not be lost.
			if own := c.deadline.Load(); own != 0 && own < limit.UnixNano() {
				_ = c.Conn.SetReadDeadline(time.Unix(0, own))
			}
		}
	}
	n, err := c.Conn.Read(b)
	if err == nil && c.asked.CompareAndSwap(true, false) && c.deadline.Load() == 0 {
		_ = c.Conn.SetReadDeadline(time.Time{})
	}
	return n, err
}

// SetDeadline implements net.Conn.
func (c *watchfulConn) SetDeadline(t time.Time) error {
	c.note(t)
	return c.Conn.SetDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (c *watchfulConn) SetReadDeadline(t time.Time) error {
	c.note(t)
	return c.Conn.SetReadDeadline(t)
}

func (c *watchfulConn) note(t time.Time) {
	if t.IsZero() {
		c.deadline.Store(0)
		return
	}
	c.deadline.Store(t.UnixNano())
}

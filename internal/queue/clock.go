package queue

import (
	"sync/atomic"
	"time"
)

// Clock is the database server's clock as this process knows it: the time read with the
// last heartbeat, and what has passed here since. River and the refreshing of tokens go by
// it, so that it does not matter what time this machine thinks it is.
type Clock struct {
	last atomic.Pointer[reading]
}

// reading is a moment by the server's clock and by this machine's.
type reading struct{ server, here time.Time }

// Now returns the server's time, or this machine's before the first reading.
func (c *Clock) Now() time.Time {
	last := c.last.Load()
	if last == nil {
		return time.Now()
	}
	return last.server.Add(time.Since(last.here))
}

// NowOrNil returns nil: statements of River then use the server's now(). Together with Now
// it implements rivertype.TimeGenerator.
func (c *Clock) NowOrNil() *time.Time { return nil }

// read sets the clock to what the server returned between two moments here.
func (c *Clock) read(server, asked, answered time.Time) {
	c.last.Store(&reading{server, asked.Add(answered.Sub(asked) / 2)})
}

package queue

import (
	"testing"
	"time"

	"github.com/trainingmonkey/worker/test/dbtest"
)

// TestClock: a heartbeat reads the server's clock, which then runs on.
func TestClock(t *testing.T) {
	t.Parallel()
	var c Clock
	now := time.Now()
	if off := c.Now().Sub(now); off < 0 || off > time.Minute {
		t.Errorf("before a reading the clock is %v ahead of this machine's", off)
	}
	c.read(now.Add(-90*time.Minute), now.Add(-2*time.Second), now)
	if off := c.Now().Sub(now) + 90*time.Minute; off < time.Second || off > time.Minute {
		t.Errorf("a second after the reading %v have passed", off)
	}

	p := newProcess(dbtest.Migrated(t))
	p.Clock.read(now.Add(time.Hour), now, now)
	if err := p.beat(t.Context()); err != nil {
		t.Fatal(err)
	}
	if off := time.Until(p.Clock.Now()).Abs(); off > time.Minute {
		t.Errorf("after a heartbeat the clock is %v off that of a server on the same machine", off)
	}
}

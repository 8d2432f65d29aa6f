package main

import (
	"os"
	"runtime/debug"

	"github.com/trainingmonkey/worker/internal/config"
)

const (
	// baseMemory is what the process takes beside the transactions under way.
	baseMemory = 20 << 20
	// activityMemory is what an activity of a transaction takes, in bytes: its
	// arguments, the row that follows from them, and its encoding for the server.
	activityMemory = 4 << 10
)

// boundMemory has the garbage collector let garbage pile up until the process
// takes as much as its transactions may: collecting earlier takes processor time
// from them. GOGC and GOMEMLIMIT have precedence. A process that needs more gets
// it, and collects more often.
func boundMemory(c config.Batching) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	debug.SetGCPercent(400)
	debug.SetMemoryLimit(baseMemory + activityMemory*int64(c.Loops)*int64(c.MaxActivities))
}

package main

import (
	"os"
	"runtime/debug"

	"github.com/trainingmonkey/worker/internal/config"
)

const (
	// baseMemory is the memory of the process without transactions.
	baseMemory = 20 << 20
	// activityMemory is the memory of one activity in a transaction, in bytes: its
	// arguments, its row, and its encoding for the server.
	activityMemory = 4 << 10
)

// boundMemory sets the memory limit to what the transactions may need, and makes garbage
// collection below it rare, because it costs processor time. A process that needs more
// collects more often. GOGC and GOMEMLIMIT take precedence.
func boundMemory(c config.Batching) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	debug.SetGCPercent(400)
	debug.SetMemoryLimit(baseMemory + activityMemory*int64(c.Loops)*int64(c.MaxActivities))
}

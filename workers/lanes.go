package workers

import (
	"github.com/riverqueue/river"

	"github.com/trainingmonkey/worker/internal/groupcommit"
)

// lanes are the engines of one kind: what athletes wait for does not share
// worker slots, transactions or committers with bulk input.
type lanes[T river.JobArgs] struct {
	live, bulk *groupcommit.Engine[T]
	bulkQueue  string
}

func (l lanes[T]) of(queue string) *groupcommit.Engine[T] {
	if queue == l.bulkQueue {
		return l.bulk
	}
	return l.live
}

// noTimeout turns River's own limit on a job off. The engine bounds every
// transaction and every retry itself; a limit in River would end a job that
// waits for the database to come back, and could not say so to the database.
const noTimeout = -1

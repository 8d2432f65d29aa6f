package main

import (
	"testing"

	"github.com/trainingmonkey/worker/jobs"
	"github.com/trainingmonkey/worker/workers"
)

// TestEveryKindIsCompleted: and every queue is listed.
func TestEveryKindIsCompleted(t *testing.T) {
	migrated(t)
	enqueue(t, "__complete", "jobs", "list", "--kind", "").want(t, 0, jobs.Kinds()...)
	enqueue(t, "__complete", "jobs", "list", "--queue", "").want(t, 0, workers.QueueNames()...)
	enqueue(t, "__complete", "queues", "pause", "").want(t, 0, workers.QueueNames()...)
	enqueue(t, "queues", "list").want(t, 0, workers.QueueNames()...)
}

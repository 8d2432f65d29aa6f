package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/trainingmonkey/worker/internal/queue"
)

// whyIdle tells why nothing happens to the jobs of some queues, as far as can be
// seen, and what to do about it: a paused queue needs no worker, and a worker does
// not help it.
func (db *database) whyIdle(ctx context.Context, queues ...string) (string, error) {
	schema := queue.Schema(db.schema)
	paused, err := schema.PausedQueues(ctx, db.pool)
	if err != nil {
		return "", err
	}
	var holding []string
	for _, name := range paused {
		if !slices.Contains(queues, name) {
			continue
		}
		switch due, err := schema.Due(ctx, db.pool, []string{name}); {
		case err != nil:
			return "", err
		case due:
			holding = append(holding, name)
		}
	}
	alive, err := queue.AliveProcesses(ctx, db.pool)
	switch {
	case err != nil:
		return "", err
	case len(holding) > 0:
		resume := make([]string, len(holding))
		for i, name := range holding {
			resume[i] = "enqueue queues resume " + name
		}
		return fmt.Sprintf("nothing happens: jobs wait in %s, paused; go on with: %s", strings.Join(holding, " and "), strings.Join(resume, "; ")), nil
	case alive == 0:
		return "nothing happens: no worker is alive; start one with: worker run", nil
	}
	return fmt.Sprintf("nothing happens, although %s alive; see: enqueue status", counted(alive, "worker is", "workers are")), nil
}

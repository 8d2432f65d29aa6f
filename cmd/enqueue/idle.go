package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/trainingmonkey/worker/internal/cli"
	"github.com/trainingmonkey/worker/internal/queue"
)

// whyIdle returns why no job of the queues is worked and what to do: resume a paused
// queue, or start a worker. It is empty if the cause is unknown.
func (db *database) whyIdle(ctx context.Context, queues ...string) (string, error) {
	schema := queue.Schema(db.schema)
	paused, err := schema.PausedQueues(ctx, db.pool)
	if err != nil {
		return "", err
	}
	var waiting, resume []string
	for _, name := range paused {
		if !slices.Contains(queues, name) {
			continue
		}
		switch due, err := schema.Due(ctx, db.pool, []string{name}); {
		case err != nil:
			return "", err
		case due:
			waiting, resume = append(waiting, name), append(resume, "enqueue queues resume "+name)
		}
	}
	alive, err := queue.AliveProcesses(ctx, db.pool)
	switch {
	case err != nil:
		return "", err
	case len(waiting) > 0:
		return fmt.Sprintf("nothing happens: jobs wait in %s, paused; go on with: %s", strings.Join(waiting, " and "), strings.Join(resume, "; ")), nil
	case alive == 0:
		return "nothing happens: no worker is alive; start one with: worker run", nil
	}
	return fmt.Sprintf("nothing happens, although %s alive; see: enqueue status", cli.Counted(alive, "worker is", "workers are")), nil
}

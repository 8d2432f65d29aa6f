package main

import (
	"slices"
	"testing"

	"github.com/spf13/cobra"

	"github.com/trainingmonkey/worker/test/commandtest"
)

// TestRecommendedCommandsAreAccepted: wherever they are recommended.
func TestRecommendedCommandsAreAccepted(t *testing.T) {
	t.Parallel()
	found := commandtest.CheckAdvice(t, func() *cobra.Command { return rootCommand(&program{}) })
	for _, known := range []string{"enqueue status", "enqueue rejects retry --all", "enqueue queues resume 7", "enqueue backfill status 7 --wait", "enqueue recalc --user 7"} {
		if !slices.Contains(found, known) {
			t.Errorf("%s was not found; found %d: %q", known, len(found), found)
		}
	}
}

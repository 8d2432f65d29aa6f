package main

import (
	"slices"
	"testing"

	"github.com/spf13/cobra"

	"github.com/trainingmonkey/worker/internal/cli"
	"github.com/trainingmonkey/worker/test/commandtest"
)

// TestRecommendedCommandsAreAccepted: wherever they are recommended.
func TestRecommendedCommandsAreAccepted(t *testing.T) {
	t.Parallel()
	found := commandtest.CheckAdvice(t, func() *cobra.Command { return rootCommand(&cli.Program{}) })
	for _, known := range []string{"worker run", "worker dev", "worker migrate up", "worker migrate up --worker-role 7", "worker tokens rotate"} {
		if !slices.Contains(found, known) {
			t.Errorf("%s was not found; found %d: %q", known, len(found), found)
		}
	}
}

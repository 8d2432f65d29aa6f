package main

import (
	"github.com/spf13/cobra"

	"github.com/trainingmonkey/worker/internal/cli"
)

func athleteCommand(p *program) *cobra.Command {
	c := &cobra.Command{
		Use:   "athlete",
		Short: "Show what is stored about one athlete, and remove it",
		Example: "  enqueue athlete implausible --user 7\n" +
			"  enqueue athlete purge --user 7",
	}
	c.AddCommand(implausibleCommand(p), purgeCommand(p))
	return c
}

// userFlag adds a required --user.
func userFlag(c *cobra.Command, user *int32) {
	c.Flags().Int32Var(user, "user", 0, "`id` of the user (required)")
}

func checkUser(user int32) error {
	if user <= 0 {
		return cli.Usagef("--user is required, a positive id")
	}
	return nil
}

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/cli"
	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/internal/tokens"
)

func tokensStatusCommand(configFile *string, io streams) *cobra.Command {
	var within time.Duration
	var asJSON bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Show the status of users' tokens, and who has to authorize again",
		Long: "Count users by the state of their tokens and by the key that they are encrypted with, and list who has to\n" +
			"authorize the application again, with the reason. It needs no key and shows no token.",
		Example: "  enqueue tokens status\n" +
			"  enqueue tokens status --json",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if within < 0 {
				return cli.Usagef("--expiring-within must not be negative, got %v", within)
			}
			return withDatabase(c.Context(), *configFile, "enqueue tokens", func(pool *dbpool.Pool, settings config.Config) error {
				if within == 0 {
					within = settings.Tokens.RefreshBefore
				}
				status, err := tokens.GetStatus(c.Context(), pool, settings.River.Schema, within, nil)
				if err != nil {
					return err
				}
				if asJSON {
					return json.NewEncoder(io.out).Encode(status)
				}
				if err := writeTokenStatus(io.out, status, within); err != nil {
					return err
				}
				return writeTokensUnconfigured(io.out, settings)
			})
		},
	}
	c.Flags().DurationVar(&within, "expiring-within", 0, "`time` before its end in which a token counts as expiring (default tokens.refresh_before)")
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	return c
}

func writeTokenStatus(w io.Writer, s tokens.Status, within time.Duration) error {
	counts := []string{}
	for _, line := range []struct {
		what string
		n    int64
	}{
		{"fresh", s.Fresh},
		{fmt.Sprintf("expiring within %v", within), s.Expiring},
		{"expired", s.Expired},
		{"needs re-authorization", s.NeedsReauthorization},
	} {
		counts = append(counts, fmt.Sprintf("%s\t%d", line.what, line.n))
	}
	if err := cli.WriteTable(w, "TOKENS\tATHLETES", counts); err != nil {
		return err
	}
	if s.Refreshing > 0 {
		_, _ = fmt.Fprintf(w, "%d being refreshed\n", s.Refreshing)
	}
	for _, key := range slices.Sorted(maps.Keys(s.Keys)) {
		_, _ = fmt.Fprintf(w, "%d encrypted with key %s\n", s.Keys[key], key)
	}
	if s.Plaintext > 0 {
		_, _ = fmt.Fprintf(w, "%d not encrypted; do so with: worker tokens rotate\n", s.Plaintext)
	}
	if s.PausedUntil != nil {
		_, _ = fmt.Fprintf(w, "the provider wants no requests until %s\n", s.PausedUntil.Local().Format(time.DateTime))
	}
	if len(s.Reauthorize) == 0 {
		return nil
	}
	rows := make([]string, len(s.Reauthorize))
	for i, user := range s.Reauthorize {
		rows[i] = fmt.Sprintf("%d\t%s\t%s", user.UserID, user.Since.Local().Format(time.DateTime), describeReason(user.Reason))
	}
	return cli.WriteTable(w, "USER\tHAS TO AUTHORIZE AGAIN SINCE\tREASON", rows)
}

// writeTokensUnconfigured says what has to be set before tokens are refreshed. It
// describes this command's settings; a worker's may differ.
func writeTokensUnconfigured(w io.Writer, settings config.Config) error {
	missing := settings.MissingForTokens()
	if missing == "" {
		return nil
	}
	_, err := fmt.Fprintf(w, "not set here: %s; a worker with these settings refreshes no tokens\n", missing)
	return err
}

func describeReason(reason tokens.Reason) string {
	switch reason {
	case tokens.Refused:
		return "the provider refuses the refresh token"
	case tokens.AnswerLost:
		return "what the provider gave was lost before it was stored"
	}
	return string(reason)
}

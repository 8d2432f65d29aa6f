package main

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/trainingmonkey/worker/internal/cli"
	"github.com/trainingmonkey/worker/internal/tokens"
)

func tokensStatusCommand(p *program) *cobra.Command {
	var within time.Duration
	c := &cobra.Command{
		Use:   "status",
		Short: "Show the status of users' tokens, and who has to authorize again",
		Long: "Count users by the state of their tokens and by the key that they are encrypted with, and list who has to\n" +
			"authorize the application again, with the reason. It needs no key and shows no token.",
		Example: "  enqueue tokens status\n" +
			"  enqueue tokens status --json",
		RunE: func(c *cobra.Command, _ []string) error {
			if within < 0 {
				return cli.Usagef("--expiring-within must not be negative, got %v", within)
			}
			return p.withDatabase(c.Context(), "enqueue tokens", func(db *database) error {
				status, err := tokens.GetStatus(c.Context(), db.pool, db.schema, within, nil)
				if err != nil {
					return err
				}
				return p.Show(status, func() {
					p.writeTokenStatus(status, within)
					// It describes this command's settings; a worker's may differ.
					if missing := db.config.MissingForTokens(); missing != "" {
						p.Printf("not set here: %s; a worker with these settings refreshes no tokens\n", missing)
					}
				})
			})
		},
	}
	c.Flags().DurationVar(&within, "expiring-within", tokens.RefreshBefore, "`time` before its end in which a token counts as expiring")
	p.JSONFlag(c, "a JSON object")
	return c
}

func (p *program) writeTokenStatus(s tokens.Status, within time.Duration) {
	p.Table("TOKENS\tATHLETES", []string{
		fmt.Sprintf("fresh\t%d", s.Fresh),
		fmt.Sprintf("expiring within %v\t%d", within, s.Expiring),
		fmt.Sprintf("expired\t%d", s.Expired),
		fmt.Sprintf("needs re-authorization\t%d", s.NeedsReauthorization),
	})
	if s.Refreshing > 0 {
		p.Printf("%d being refreshed\n", s.Refreshing)
	}
	for _, key := range slices.Sorted(maps.Keys(s.Keys)) {
		p.Printf("%d encrypted with key %s\n", s.Keys[key], key)
	}
	if s.Plaintext > 0 {
		p.Printf("%d not encrypted; do so with: worker tokens rotate\n", s.Plaintext)
	}
	if s.PausedUntil != nil {
		p.Printf("the provider wants no requests until %s\n", s.PausedUntil.Local().Format(time.DateTime))
	}
	if len(s.Reauthorize) == 0 {
		return
	}
	p.Table("USER\tHAS TO AUTHORIZE AGAIN SINCE\tREASON", cli.Rows(s.Reauthorize, func(user tokens.NeedsUser) string {
		return fmt.Sprintf("%d\t%s\t%s", user.UserID, user.Since.Local().Format(time.DateTime), describeReason(user.Reason))
	}))
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

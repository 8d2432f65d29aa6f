package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/cli"
	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/internal/tokens"
	"github.com/trainingmonkey/worker/migrations"
)

func tokensCommand(p *cli.Program) *cobra.Command {
	c := &cobra.Command{
		Use:   "tokens",
		Short: "Encrypt stored tokens, or encrypt them with another key",
	}
	c.AddCommand(rotateCommand(p))
	return c
}

func rotateCommand(p *cli.Program) *cobra.Command {
	c := &cobra.Command{
		Use:   "rotate",
		Short: "Encrypt all tokens with the first key of TMWORKER_TOKEN_KEYS",
		Long: "Encrypt with the first key of TMWORKER_TOKEN_KEYS (id:base64,id:base64) every token that is encrypted with another\n" +
			"one, or not at all. Workers and the application may run meanwhile. To change the key: give every process the new key after the old\n" +
			"one, then before it, then rotate, then remove the old one. Rows that do not decrypt are left as they are and\n" +
			"listed. If interrupted, run it again.",
		Example: "  worker tokens rotate\n" +
			"  worker tokens rotate --json",
		RunE: func(c *cobra.Command, _ []string) error {
			return p.WithPool(c.Context(), "worker tokens", func(pool *dbpool.Pool, settings config.Config) error {
				if err := cli.RequireTokenKeys(settings); err != nil {
					return err
				}
				if err := migrations.Check(c.Context(), pool.Pool, settings.River.Schema); err != nil {
					return err
				}
				bar := p.NewBar(0, "encrypting tokens", "user", "users")
				rotation, err := tokens.New(pool, settings.TokenKeys, settings.River.Schema).Rotate(c.Context(), func(r tokens.Rotation) {
					bar.Resize(r.Total)
					bar.Set(min(r.Rotated, r.Total))
				})
				bar.Finish()
				if err != nil {
					return err
				}
				return errors.Join(p.Show(rotation, func() {
					p.Printf("encrypted the tokens of %s with key %s\n", cli.Counted(rotation.Rotated, "user", "users"), rotation.Key)
				}), unreadable(rotation.Unreadable))
			})
		},
	}
	p.JSONFlag(c, "a JSON object")
	return c
}

// unreadable returns the error for rows that do not decrypt.
func unreadable(left []int32) error {
	if len(left) == 0 {
		return nil
	}
	const maxShown = 20
	users := strings.Trim(fmt.Sprint(left[:min(maxShown, len(left))]), "[]")
	if len(left) > maxShown {
		users += " …"
	}
	return fmt.Errorf("tokens that do not decrypt with any of the keys are left as they are, %d in all; users %s", len(left), users)
}

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/trainingmonkey/worker/internal/cli"
	"github.com/trainingmonkey/worker/internal/tokens"
	"github.com/trainingmonkey/worker/migrations"
)

func tokensCommand(configFile *string, stdout, stderr io.Writer) *cobra.Command {
	c := &cobra.Command{
		Use:   "tokens",
		Short: "Encrypt stored tokens, or encrypt them with another key",
	}
	c.AddCommand(rotateCommand(configFile, stdout, stderr))
	return c
}

func rotateCommand(configFile *string, stdout, stderr io.Writer) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "rotate",
		Short: "Encrypt all tokens with the first key of TMWORKER_TOKEN_KEYS",
		Long: "Encrypt with the first key of TMWORKER_TOKEN_KEYS (id:base64,id:base64) every token that is encrypted with another\n" +
			"one, or not at all. Workers and the application may run meanwhile. To change the key: give every process the new key after the old\n" +
			"one, then before it, then rotate, then remove the old one. Rows that do not decrypt are left as they are and\n" +
			"listed. If interrupted, run it again.",
		Example: "  worker tokens rotate\n" +
			"  worker tokens rotate --json",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			settings, err := cli.LoadConfig(*configFile)
			if err != nil {
				return err
			}
			if err := cli.RequireTokenKeys(settings); err != nil {
				return err
			}
			pool, err := cli.OpenPool(c.Context(), settings, "worker tokens")
			if err != nil {
				return err
			}
			defer pool.Close()
			if err := migrations.Check(c.Context(), pool.Pool, settings.River.Schema); err != nil {
				return err
			}
			bar := &cli.Bar{}
			begun := false
			rotation, err := tokens.New(pool, settings.TokenKeys, settings.River.Schema).Rotate(c.Context(), func(r tokens.Rotation) {
				if !begun {
					bar, begun = cli.NewBar(stderr, r.Total, "encrypting tokens", "users"), true
				}
				bar.Set(min(r.Rotated, r.Total))
			})
			bar.Finish()
			if err != nil {
				return err
			}
			return writeRotation(stdout, rotation, asJSON)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	return c
}

// writeRotation prints the outcome and returns an error when rows are left.
func writeRotation(w io.Writer, r tokens.Rotation, asJSON bool) error {
	var err error
	if asJSON {
		err = json.NewEncoder(w).Encode(r)
	} else {
		_, err = fmt.Fprintf(w, "encrypted the tokens of %d users with key %s\n", r.Rotated, r.Key)
	}
	if err != nil || len(r.Unreadable) == 0 {
		return err
	}
	const maxShown = 20
	users := strings.Trim(fmt.Sprint(r.Unreadable[:min(maxShown, len(r.Unreadable))]), "[]")
	if len(r.Unreadable) > maxShown {
		users += " …"
	}
	return fmt.Errorf("tokens that do not decrypt with any of the keys are left as they are, %d in all; users %s", len(r.Unreadable), users)
}

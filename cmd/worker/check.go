package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/trainingmonkey/worker/internal/cli"
	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/internal/doctor"
	"github.com/trainingmonkey/worker/workers"
)

func checkCommand(p *cli.Program) *cobra.Command {
	c := &cobra.Command{
		Use:   "check",
		Short: "Find what keeps a worker from working, now or soon, and how to fix it",
		Long: "Check everything that `worker run` depends on: settings, connection, pooler, server, role, tables, queue.\n" +
			"With FAIL a worker would not work, and the exit code is 1; with WARN it works today. Nothing is changed.",
		Example: "  worker check\n" +
			"  worker check --config /etc/trainingmonkey/config.yaml --json",
		RunE: func(c *cobra.Command, _ []string) error {
			settings, err := cli.LoadConfig(p.ConfigFile)
			if err != nil {
				return err
			}
			findings := check(c.Context(), settings)
			err = p.Show(findings, func() { writeFindings(p, findings) })
			for _, f := range findings {
				if !f.OK {
					return errors.Join(err, errors.New("check failed"))
				}
			}
			return err
		},
	}
	p.JSONFlag(c, "a JSON list")
	return c
}

// check examines everything that `worker run` depends on, without stopping at
// the first fault.
func check(ctx context.Context, settings config.Config) []doctor.Finding {
	ctx, cancel := context.WithTimeout(ctx, settings.Database.StatementTimeout)
	defer cancel()
	findings := []doctor.Finding{{Check: "configuration", OK: true, About: "valid"}, aboutTokens(settings), aboutBudget(settings), aboutOperations(settings)}
	pool, err := cli.OpenPool(ctx, settings, "worker check", nil)
	if err != nil {
		about, cure, _ := strings.Cut(err.Error(), "\n")
		return append(findings, doctor.Finding{
			Check: "connection", About: about, Why: "without it a worker does nothing, and nothing else could be checked",
			Cure: cmp.Or(cure, "correct DATABASE_URL, such as postgres://user:password@host/database, and check that the server answers"),
		})
	}
	defer pool.Close()
	return append(findings, doctor.Examine(ctx, pool, settings)...)
}

// aboutTokens reports whether this process would refresh tokens. If not, that is
// no failure.
func aboutTokens(settings config.Config) doctor.Finding {
	if missing := settings.MissingForTokens(); missing != "" {
		return doctor.Finding{Check: "tokens", OK: true, About: "not refreshed by this worker; not set: " + missing}
	}
	return doctor.Finding{Check: "tokens", OK: true, About: "refreshed at " + settings.Tokens.TokenURL + ", " + settings.TokenKeys.String()}
}

// aboutBudget reports the connection budget.
func aboutBudget(settings config.Config) doctor.Finding {
	if err := checkBudget(settings); err != nil {
		about, cure, _ := strings.Cut(err.Error(), "; ")
		return doctor.Finding{Check: "connection budget", About: about, Why: "a lane that gets no connection stands still", Cure: cure}
	}
	return doctor.Finding{Check: "connection budget", OK: true, About: fmt.Sprintf("%s of database.max_conns = %d, and %d more that listen", workers.Budget(settings), settings.Database.MaxConns, settings.Listeners())}
}

// aboutOperations reports where the pages are served and who may see them.
func aboutOperations(settings config.Config) doctor.Finding {
	access := webAccess(settings)
	switch err := access.Check(); {
	case access.Listen == "":
		return doctor.Finding{Check: "operations", OK: true, About: "neither probes nor metrics nor pages are served"}
	case err != nil:
		about, cure, _ := strings.Cut(err.Error(), ": ")
		return doctor.Finding{Check: "operations", About: about, Why: "the pages show athletes' data, and their buttons change jobs", Cure: cure}
	case access.User == "":
		return doctor.Finding{Check: "operations", OK: true, About: access.Listen + ", for this machine alone"}
	}
	return doctor.Finding{Check: "operations", OK: true, About: access.Listen + ", with credentials"}
}

// writeFindings prints one line per finding, and two more for failures and warnings.
func writeFindings(p *cli.Program, findings []doctor.Finding) {
	for _, f := range findings {
		mark := p.Paint(cli.Green, "ok  ")
		switch {
		case !f.OK:
			mark = p.Paint(cli.Red, "FAIL")
		case f.Warns():
			mark = p.Paint(cli.Yellow, "WARN")
		}
		p.Printf("%s  %s: %s\n", mark, f.Check, f.About)
		if f.Why != "" {
			p.Printf("      why: %s\n", f.Why)
		}
		if f.Cure != "" {
			p.Printf("      cure: %s\n", f.Cure)
		}
	}
}

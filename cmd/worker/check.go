package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/cli"
	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/internal/overview"
	"github.com/trainingmonkey/worker/internal/queue"
	"github.com/trainingmonkey/worker/migrations"
	"github.com/trainingmonkey/worker/workers"
)

// finding is one line of `worker check`.
type finding struct {
	What  string `json:"check"`
	OK    bool   `json:"ok"`
	About string `json:"about"`
}

func checkCommand(configFile *string, stdout io.Writer) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "check",
		Short: "Validate configuration, connection, migrations and connection budget",
		Example: "  worker check\n" +
			"  worker check --config /etc/trainingmonkey/config.yaml --json",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			settings, err := cli.LoadConfig(*configFile)
			if err != nil {
				return err
			}
			findings := check(c.Context(), settings)
			if asJSON {
				err = json.NewEncoder(stdout).Encode(findings)
			} else {
				err = writeFindings(stdout, findings)
			}
			for _, f := range findings {
				if !f.OK {
					return errors.Join(err, errors.New("check failed"))
				}
			}
			return err
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON list")
	return c
}

// check looks at everything that `worker run` depends on and does not stop at
// the first fault.
func check(ctx context.Context, settings config.Config) []finding {
	ctx, cancel := context.WithTimeout(ctx, settings.Database.StatementTimeout)
	defer cancel()
	findings := []finding{{"configuration", true, "valid"}, tokensFinding(settings), budgetFinding(settings), operationsFinding(settings)}
	pool, err := cli.OpenPool(ctx, settings, "worker check")
	if err != nil {
		return append(findings, finding{"connection", false, err.Error()})
	}
	defer pool.Close()
	findings = append(findings, finding{"connection", true, dbpool.Target(pool.Config().ConnConfig)})
	findings = append(append(findings, checkServer(ctx, pool, settings)...), checkVacuum(ctx, pool, overview.HeldBackFor))
	if err := migrations.Check(ctx, pool.Pool, settings.River.Schema); err != nil {
		return append(findings, finding{"migrations", false, err.Error()})
	}
	findings = append(findings, finding{"migrations", true, "up to date"})
	if err := checkPrivileges(ctx, pool, settings); err != nil {
		return append(findings, finding{"privileges", false, err.Error()})
	}
	findings = append(findings, finding{"privileges", true, "all that work needs, on all rows"})
	ids, err := workers.ReadIDs(ctx, pool, queue.Schema(settings.River.Schema))
	if err = errors.Join(err, ids.Err()); err != nil {
		return append(findings, finding{"job ids", false, err.Error()})
	}
	findings = append(findings, finding{"job ids", true, fmt.Sprintf("beyond every version that is stored; the newest is %d", ids.Last)})
	return append(findings, checkIndexes(ctx, pool, settings))
}

// checkPrivileges names what the role may not do, or not see.
func checkPrivileges(ctx context.Context, pool *dbpool.Pool, settings config.Config) error {
	needed, err := migrations.NeededPrivileges(ctx, pool, settings.River.Schema)
	if err != nil {
		return err
	}
	var missing, hidden []string
	for _, p := range needed {
		switch {
		case !p.Has:
			missing = append(missing, p.Needs+" ON "+p.On)
		case p.Hidden:
			hidden = append(hidden, strings.ToLower(p.On))
		}
	}
	role := pgx.Identifier{pool.Config().ConnConfig.User}.Sanitize()
	if len(missing) > 0 {
		return fmt.Errorf("role %s lacks %s; as the owner of the tables: worker migrate up --worker-role %[1]s", role, strings.Join(missing, "; "))
	}
	if len(hidden) > 0 {
		return fmt.Errorf("row-level security hides rows of %s from role %s, so their results would never be right; ALTER ROLE %[2]s BYPASSRLS, or a policy FOR SELECT TO %[2]s USING (true)",
			strings.Join(hidden, ", "), role)
	}
	return nil
}

// tokensFinding says whether this process would refresh tokens; it is none's
// fault if it would not.
func tokensFinding(settings config.Config) finding {
	if missing := settings.MissingForTokens(); missing != "" {
		return finding{"tokens", true, "not refreshed by this worker; not set: " + missing}
	}
	return finding{"tokens", true, "refreshed at " + settings.Tokens.TokenURL + ", " + settings.TokenKeys.String()}
}

// budgetFinding prints the arithmetic, whether it works out or not.
func budgetFinding(settings config.Config) finding {
	if err := checkBudget(settings); err != nil {
		return finding{"connection budget", false, err.Error()}
	}
	return finding{"connection budget", true, fmt.Sprintf("%s of database.max_conns = %d, and 1 more that listens", workers.Budget(settings), settings.Database.MaxConns)}
}

// operationsFinding tells where the pages are and who may see them.
func operationsFinding(settings config.Config) finding {
	access := accessOf(settings)
	switch err := access.Check(); {
	case access.Listen == "":
		return finding{"operations", true, "neither probes nor metrics nor pages are served"}
	case err != nil:
		return finding{"operations", false, err.Error()}
	case access.User == "":
		return finding{"operations", true, access.Listen + ", for this machine alone"}
	}
	return finding{"operations", true, access.Listen + ", with credentials"}
}

// checkIndexes names invalid indexes; they stop no work.
func checkIndexes(ctx context.Context, pool *dbpool.Pool, settings config.Config) finding {
	broken, err := migrations.BrokenIndexes(ctx, pool.Pool, settings.River.Schema)
	if err != nil {
		return finding{"indexes", false, err.Error()}
	}
	if len(broken) == 0 {
		return finding{"indexes", true, "valid"}
	}
	var cures []string
	for _, index := range broken {
		cure := "REINDEX INDEX CONCURRENTLY " + index.Name
		if index.Leftover {
			cure = "DROP INDEX CONCURRENTLY " + index.Name + ", as worker migrate up does"
		}
		cures = append(cures, cure)
	}
	return finding{"indexes", true, "not valid, so every write maintains them for nothing: " + strings.Join(cures, "; ")}
}

func writeFindings(w io.Writer, findings []finding) error {
	for _, f := range findings {
		mark := "ok  "
		if !f.OK {
			mark = "FAIL"
		}
		if _, err := fmt.Fprintf(w, "%s  %s: %s\n", mark, f.What, f.About); err != nil {
			return err
		}
	}
	return nil
}

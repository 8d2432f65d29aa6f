package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/admin"
	"github.com/trainingmonkey/worker/internal/cli"
	"github.com/trainingmonkey/worker/internal/config"
)

// purgedAthlete is what purge --json prints.
type purgedAthlete struct {
	UserID    int32           `json:"user_id"`
	Preview   bool            `json:"preview"`
	Tables    []admin.Holding `json:"tables"`
	AuditRows int64           `json:"audit_rows"` // that stay
	Stays     []string        `json:"stays"`
}

func purgeCommand(configFile *string, io streams) *cobra.Command {
	var user int32
	var yes, withAudit, asJSON bool
	c := &cobra.Command{
		Use:   "purge --user N",
		Short: "Remove an athlete's data for good",
		Long: "Remove everything that is stored about an athlete: activities with their results, recorded versions, rejects, settings of ACWR,\n" +
			"tokens, audit rows older than tokens.audit_retention, and the athlete's part of the arguments of all jobs. Other\n" +
			"athletes' activities in the same jobs are worked. Jobs enqueued for the athlete before do nothing afterwards;\n" +
			"jobs enqueued later, after signing up again, are worked. The data cannot be restored.\n\n" +
			"It shows what it would remove, unless --yes is given. It can be interrupted, and run again.",
		Example: "  enqueue athlete purge --user 7\n" +
			"  enqueue athlete purge --user 7 --yes\n" +
			"  enqueue athlete purge --user 7 --with-audit --yes --json",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := checkUser(user); err != nil {
				return err
			}
			return withDatabase(c.Context(), *configFile, "enqueue athlete", func(pool *dbpool.Pool, settings config.Config) error {
				o, err := admin.NewActions(pool, settings.River.Schema)
				if err != nil {
					return err
				}
				retention := auditRetention(settings, withAudit)
				result, err := purge(c.Context(), o, user, retention, yes, io)
				if err != nil {
					return err
				}
				result.Stays = stays(settings, result.AuditRows)
				if asJSON {
					return json.NewEncoder(io.out).Encode(result)
				}
				return result.write(io)
			})
		},
	}
	userFlag(c, &user)
	c.Flags().BoolVar(&withAudit, "with-audit", false, "remove the audit rows within tokens.audit_retention as well")
	c.Flags().BoolVar(&yes, "yes", false, "do it")
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	return c
}

// auditRetention is nil where audit rows stay for ever.
func auditRetention(settings config.Config, withAudit bool) *time.Duration {
	retention := settings.Tokens.AuditRetention
	switch {
	case withAudit:
		retention = 0
	case retention == 0:
		return nil
	}
	return &retention
}

func purge(ctx context.Context, o *admin.Actions, user int32, retention *time.Duration, yes bool, io streams) (purgedAthlete, error) {
	searching := cli.NewBar(io.err, 0, "searching jobs", "jobs")
	held, err := o.Holdings(ctx, user, retention, searching.Set)
	searching.Finish()
	result := purgedAthlete{UserID: user, Preview: !yes, Tables: held.Tables, AuditRows: held.AuditRows}
	if err != nil || !yes {
		return result, err
	}
	removing := cli.NewBar(io.err, held.Rows(), "removing", "rows")
	defer removing.Finish()
	total := int64(0)
	err = o.Purge(ctx, user, retention, func(removed map[string]int64, inHand int) {
		for i := range result.Tables {
			n := removed[result.Tables[i].Table]
			result.Tables[i].Removed += n
			total += n
		}
		if inHand > 0 {
			removing.Describe("waiting for " + counted(inHand, "job that is being worked", "jobs that are being worked"))
		} else {
			removing.Describe("removing")
		}
		removing.Set(min(total, held.Rows()))
	})
	return result, err
}

// stays says what a purge does not remove.
func stays(settings config.Config, auditRows int64) []string {
	var list []string
	if auditRows > 0 {
		until := "for ever, as tokens.audit_retention is 0s"
		if settings.Tokens.AuditRetention > 0 {
			until = fmt.Sprintf("until they are older than tokens.audit_retention (%v)", settings.Tokens.AuditRetention)
		}
		list = append(list, counted(int(auditRows), "row", "rows")+" of token_audit_log "+until)
	}
	return append(list,
		"the row of user_locks, by which jobs from before do nothing",
		"the user's id in the accounts of backfills (acwr_backfills, acwr_backfill_chunks)",
		"the application's own tables, user_settings among them",
		"logs and backups",
	)
}

func (p purgedAthlete) write(io streams) error {
	header, rows := "TABLE\tREMOVED", []string{}
	for _, t := range p.Tables {
		n := t.Removed
		if p.Preview {
			n = t.Rows
		}
		rows = append(rows, fmt.Sprintf("%s\t%d", t.Table, n))
	}
	if p.Preview {
		header = "TABLE\tWOULD BE REMOVED"
	}
	if err := cli.WriteTable(io.out, header, rows); err != nil {
		return err
	}
	_, _ = fmt.Fprintln(io.out, "what stays:")
	for _, what := range p.Stays {
		_, _ = fmt.Fprintln(io.out, "  "+what)
	}
	if p.Preview {
		_, err := fmt.Fprintln(io.out, "nothing was done. Do it with --yes")
		return err
	}
	_, err := fmt.Fprintf(io.out, "user %d is removed\n", p.UserID)
	return err
}

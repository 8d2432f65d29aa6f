package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/trainingmonkey/worker/internal/admin"
	"github.com/trainingmonkey/worker/internal/cli"
	"github.com/trainingmonkey/worker/internal/config"
)

// purgedAthlete is what purge --json prints.
type purgedAthlete struct {
	UserID    int32           `json:"user_id"`
	Preview   bool            `json:"preview"`
	Tables    []admin.Holding `json:"tables"`
	AuditRows int64           `json:"audit_rows"` // to be retained
	Stays     []string        `json:"stays"`
}

func purgeCommand(p *program) *cobra.Command {
	var user int32
	var yes, withAudit bool
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
		RunE: func(c *cobra.Command, _ []string) error {
			if err := checkUser(user); err != nil {
				return err
			}
			return readAndShow(c.Context(), p, "enqueue athlete", func(db *database) (purgedAthlete, error) {
				result, err := db.purge(c.Context(), user, auditRetention(db.config, withAudit), yes)
				result.Stays = stays(db.config, result.AuditRows)
				return result, err
			}, p.writePurged)
		},
	}
	userFlag(c, &user)
	c.Flags().BoolVar(&withAudit, "with-audit", false, "remove the audit rows within tokens.audit_retention as well")
	c.Flags().BoolVar(&yes, "yes", false, "do it")
	p.JSONFlag(c, "a JSON object")
	return c
}

// auditRetention returns how long audit rows are retained, nil for ever.
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

func (db *database) purge(ctx context.Context, user int32, retention *time.Duration, yes bool) (purgedAthlete, error) {
	searching := db.NewBar(0, "searching jobs", "job", "jobs")
	held, err := db.actions.Holdings(ctx, user, retention, searching.Set)
	searching.Finish()
	result := purgedAthlete{UserID: user, Preview: !yes, Tables: held.Tables, AuditRows: held.AuditRows}
	if err != nil || !yes {
		return result, err
	}
	removing := db.NewBar(held.Rows(), "removing", "row", "rows")
	defer removing.Finish()
	total := int64(0)
	err = db.actions.Purge(ctx, user, retention, func(removed map[string]int64, inHand int) {
		for i := range result.Tables {
			n := removed[result.Tables[i].Table]
			result.Tables[i].Removed += n
			total += n
		}
		if inHand > 0 {
			removing.Describe("waiting for " + cli.Counted(inHand, "job that is being worked", "jobs that are being worked"))
		} else {
			removing.Describe("removing")
		}
		removing.Set(min(total, held.Rows()))
	})
	return result, err
}

// stays lists what a purge does not remove.
func stays(settings config.Config, auditRows int64) []string {
	var list []string
	if auditRows > 0 {
		until := "for ever, as tokens.audit_retention is 0s"
		if settings.Tokens.AuditRetention > 0 {
			until = fmt.Sprintf("until they are older than tokens.audit_retention (%v)", settings.Tokens.AuditRetention)
		}
		list = append(list, cli.Counted(auditRows, "row", "rows")+" of token_audit_log "+until)
	}
	return append(list,
		"the row of user_locks, by which jobs from before do nothing",
		"the user's id in the accounts of backfills (acwr_backfills, acwr_backfill_chunks)",
		"the application's own tables, user_settings among them",
		"logs and backups",
	)
}

func (p *program) writePurged(a purgedAthlete) {
	header, rows := "TABLE\tREMOVED", []string{}
	for _, t := range a.Tables {
		n := t.Removed
		if a.Preview {
			n = t.Rows
		}
		rows = append(rows, fmt.Sprintf("%s\t%d", t.Table, n))
	}
	if a.Preview {
		header = "TABLE\tWOULD BE REMOVED"
	}
	p.Table(header, rows)
	p.Printf("what stays:\n  %s\n", strings.Join(a.Stays, "\n  "))
	if a.Preview {
		p.Printf("nothing was done. Do it with --yes\n")
		return
	}
	p.Printf("user %d is removed\n", a.UserID)
}

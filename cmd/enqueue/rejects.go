package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/trainingmonkey/worker/internal/admin"
	"github.com/trainingmonkey/worker/internal/cli"
	"github.com/trainingmonkey/worker/internal/queue"
)

func rejectsCommand(p *program) *cobra.Command {
	c := &cobra.Command{
		Use:   "rejects",
		Short: "List rejected activities, and retry or drop them",
		Long:  "Activities that were accepted and then found invalid are kept, with the reason, until an operator retries or drops them.",
		Example: "  enqueue rejects list\n" +
			"  enqueue rejects retry --user 7 --yes",
	}
	c.AddCommand(
		rejectsListCommand(p),
		rejectsShowCommand(p),
		rejectsRetryCommand(p),
		rejectsDropCommand(p),
	)
	return c
}

// rejectFilter returns the filter of rejects for the shared filter flags.
func rejectFilter(f queue.Filter) admin.Filter {
	return admin.Filter{IDs: f.IDs, User: f.User, OlderThan: f.OlderThan}
}

func rejectsListCommand(p *program) *cobra.Command {
	var flags filterFlags
	var limit int
	var each bool
	c := &cobra.Command{
		Use:   "list",
		Short: "Show why activities were rejected, or list the newest ones",
		Long: "Group the newest 500 rejected activities by reason, the most frequent first: how many, the code and the sentence that\n" +
			"job_status has for it, and the newest of them. --each or --limit list them one by one, and so does --json.",
		Example: "  enqueue rejects list\n" +
			"  enqueue rejects list --each --limit 200\n" +
			"  enqueue rejects list --user 7 --json",
		RunE: func(c *cobra.Command, _ []string) error {
			filter, err := flags.parse(c, nil, nil)
			if err := errors.Join(err, checkLimit(limit)); err != nil {
				return err
			}
			if !each && !p.JSON && !c.Flags().Changed("limit") {
				return readAndShow(c.Context(), p, "enqueue rejects", func(db *database) (admin.RejectGroups, error) {
					return db.actions.GroupRejects(c.Context(), rejectFilter(filter))
				}, func(grouped admin.RejectGroups) { p.writeRejectGroups(grouped, flags.text()) })
			}
			return readAndShow(c.Context(), p, "enqueue rejects", func(db *database) ([]admin.Reject, error) {
				return db.actions.ListRejects(c.Context(), rejectFilter(filter), limit)
			}, func(found []admin.Reject) {
				p.writeNewest("rejects", "ID\tJOB\tUSER\tACTIVITY\tAGE\tREASON", cli.Rows(found, func(r admin.Reject) string {
					return fmt.Sprintf("%d\t%d\t%s\t%s\t%s\t%s", r.ID, r.JobID, orDash("%d", r.UserID), orDash("%d", r.ActivityID), ago(r.RejectedAt), cli.OneLine(r.Reason))
				}), limit)
			})
		},
	}
	flags.register(c)
	limitFlag(c, &limit)
	c.Flags().BoolVar(&each, "each", false, "list them one by one, the newest first")
	p.JSONFlag(c, "a JSON list of single rejects")
	return c
}

// shownOfGroup is how many rejects of each reason are shown.
const shownOfGroup = 3

// writeRejectGroups prints the groups. selected are the flags that selected the
// rejects, for the commands that it recommends.
func (p *program) writeRejectGroups(grouped admin.RejectGroups, selected string) {
	if len(grouped.Groups) == 0 {
		p.Printf("no such rejects\n")
		return
	}
	width, left := len(fmt.Sprint(grouped.Groups[0].Count)), grouped.Read // the first has the highest count
	indent := strings.Repeat(" ", width+utf8.RuneCountInString(" × "))
	more := false
	if !grouped.All {
		p.Printf("of the newest %d, and there may be more:\n\n", grouped.Read)
	}
	for _, g := range grouped.Groups {
		left -= g.Count
		more = more || len(g.Rejects) > shownOfGroup
		code := ""
		if g.Code != "" {
			code = p.Paint(cli.Yellow, g.Code) + ", "
		}
		p.Printf("%*d × %sthe newest %s ago\n", width, g.Count, code, ago(g.NewestAt))
		p.Printf("%s%s\n", indent, cmp.Or(cli.OneLine(g.Reason.Reason), "no reason was stored"))
		if g.Sentence != "" {
			p.Printf("%sfor the athlete: %s\n", indent, g.Sentence)
		}
		p.writeGroupedRejects(g, indent)
		p.Printf("\n")
	}
	if left > 0 {
		p.Printf("and %s\n", cli.Counted(left, "other, for another reason", "others, for other reasons"))
	}
	if more || left > 0 {
		p.Printf("list them one by one with: enqueue rejects list --each%s\n", selected)
	}
	p.Printf("after a fix: enqueue rejects retry%s\n", cmp.Or(selected, " --all"))
}

// writeGroupedRejects prints the newest rejects of a group, with reasons only if these differ.
func (p *program) writeGroupedRejects(g admin.RejectGroup, indent string) {
	shown := g.Rejects[:min(len(g.Rejects), shownOfGroup)]
	differ := slices.ContainsFunc(shown, func(r admin.Reject) bool { return cli.OneLine(r.Reason) != g.Reason.Reason })
	header, rows := indent+"\tID\tJOB\tUSER\tACTIVITY\tAGE", make([]string, len(shown))
	if differ {
		header += "\tREASON"
	}
	for i, r := range shown {
		rows[i] = fmt.Sprintf("\t%d\t%d\t%s\t%s\t%s", r.ID, r.JobID, orDash("%d", r.UserID), orDash("%d", r.ActivityID), ago(r.RejectedAt))
		if differ {
			rows[i] += "\t" + cli.OneLine(r.Reason)
		}
	}
	p.Table(header, rows)
}

func rejectsShowCommand(p *program) *cobra.Command {
	c := &cobra.Command{
		Use:   "show ID",
		Short: "Show a rejected activity: its reason and payload",
		Example: "  enqueue rejects show 3\n" +
			"  enqueue rejects show 3 --json",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			id, err := parseID(args[0])
			if err != nil {
				return err
			}
			return readAndShow(c.Context(), p, "enqueue rejects", func(db *database) (admin.RejectDetails, error) {
				return db.actions.ShowReject(c.Context(), id)
			}, func(r admin.RejectDetails) {
				p.Printf("reject %d: activity %s of user %s, from job %d, at %s\n",
					r.ID, orDash("%d", r.ActivityID), orDash("%d", r.UserID), r.JobID, r.RejectedAt.Local().Format(time.DateTime))
				p.Printf("reason: %s\n", cli.OneLine(r.Reason))
				p.writeIndented("payload", r.Payload)
			})
		},
	}
	p.JSONFlag(c, "a JSON object")
	return c
}

package web

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/trainingmonkey/worker/internal/admin"
	"github.com/trainingmonkey/worker/internal/queue"
)

// change is an operator's request by a button. It does the same as a command of enqueue,
// for named rows. It is limited to one transaction, so that its outcome is known before
// the page is sent.
type change struct {
	Name  string // a key of changeKinds
	Queue string
	IDs   []int64

	// State and Reason select the IDs among the newest failures. State is that of the
	// jobs, empty for rejects; a nil Reason matches any.
	State  string
	Reason *string
}

// maxChanged is the max number of rows that a button changes: one transaction of the
// command.
const maxChanged = queue.MaxFailures

// changeKind describes one kind of change.
type changeKind struct {
	Button  string
	Means   string // what it means, for the confirmation
	command string // the command that does the same; the queue or the ids follow
	preview func(*pages) previewFunc
	perform func(*pages) performFunc
}

// previewFunc returns the confirmation, which says what would change.
type previewFunc = func(context.Context, change) (question, of string, err error)

// performFunc makes the change and describes what was changed.
type performFunc = func(context.Context, change) (says string, rows int64, err error)

var changeKinds = map[string]changeKind{
	"resume": {
		Button: "Resume", command: "enqueue queues resume",
		Means:   "Workers take jobs from it again.",
		preview: func(p *pages) previewFunc { return p.previewResume }, perform: func(p *pages) performFunc { return p.resume },
	},
	"retry_jobs": {
		Button: "Retry", command: "enqueue jobs retry",
		Means:   "They become available now. One that used up its attempts gets another.",
		preview: func(p *pages) previewFunc { return p.previewJobs(queue.Retry, "Retry") }, perform: func(p *pages) performFunc { return p.changeJobs(queue.Retry, "retried") },
	},
	"cancel_jobs": {
		Button: "Cancel", command: "enqueue jobs cancel",
		Means:   "They are not worked. A running one is asked to stop. They are kept for a week; a retry within it brings them back.",
		preview: func(p *pages) previewFunc { return p.previewJobs(queue.Cancel, "Cancel") }, perform: func(p *pages) performFunc { return p.changeJobs(queue.Cancel, "cancelled") },
	},
	"retry_rejects": {
		Button: "Retry", command: "enqueue rejects retry",
		Means:   "They are enqueued again, as they were handed in. Those that are still invalid stay rejected, and so do those of which a newer version has come.",
		preview: func(p *pages) previewFunc { return p.previewRejects("Retry") }, perform: func(p *pages) performFunc { return p.changeRejects(p.retryRejects) },
	},
	"drop_rejects": {
		Button: "Drop", command: "enqueue rejects drop",
		Means:   "They are forgotten for good. Nothing brings them back.",
		preview: func(p *pages) previewFunc { return p.previewRejects("Drop") }, perform: func(p *pages) performFunc { return p.changeRejects(p.dropRejects) },
	},
}

// errNothing is returned if nothing is left to change.
var errNothing = errors.New("nothing is left to do: what was named is gone, or has changed meanwhile")

// parseChange reads a change from the parameters of forms and links.
func parseChange(values url.Values) (change, error) {
	c := change{Name: values.Get("do"), Queue: values.Get("queue"), State: values.Get("state")}
	if _, known := changeKinds[c.Name]; !known {
		return c, fmt.Errorf("do: there is no such change as %q", c.Name)
	}
	if len(c.Queue) > 100 || strings.ContainsRune(c.Queue, 0) {
		return c, errors.New("queue: this is no name of a queue")
	}
	if len(values["id"]) > maxChanged {
		return c, fmt.Errorf("id: at most %d at a time, got %d", maxChanged, len(values["id"]))
	}
	for _, text := range values["id"] {
		id, err := strconv.ParseInt(text, 10, 64)
		if err != nil || id <= 0 {
			return c, fmt.Errorf("id: must be a positive whole number, got %q", text)
		}
		c.IDs = append(c.IDs, id)
	}
	slices.Sort(c.IDs)
	c.IDs = slices.Compact(c.IDs)
	if values.Has("reason") {
		c.Reason = new(values.Get("reason"))
	}
	switch {
	case c.State != "" && !slices.Contains([]string{"retryable", "discarded", "cancelled"}, c.State):
		return c, fmt.Errorf("state: must be retryable, discarded or cancelled, got %q", c.State)
	case (c.Name == "resume") != (c.Queue != ""):
		return c, errors.New("queue: is for resume, and only for it")
	case c.jobs() && len(c.IDs) == 0 && c.State == "":
		return c, errors.New("id: which jobs? give ids, or the state of those that failed")
	}
	return c, nil
}

// jobs reports whether the rows are jobs.
func (c change) jobs() bool { return strings.HasSuffix(c.Name, "_jobs") }

// command returns the command that does the same.
func (c change) command() string {
	words := []string{changeKinds[c.Name].command}
	if c.Queue != "" {
		words = append(words, c.Queue)
	}
	for _, id := range c.IDs[:min(len(c.IDs), maxNamed)] {
		words = append(words, strconv.FormatInt(id, 10))
	}
	if len(c.IDs) > maxNamed {
		words = append(words, "…")
	}
	return strings.Join(words, " ")
}

// maxNamed is the max number of ids in a text.
const maxNamed = 10

// selectIDs fills in the ids of the rows that the page refers to.
func (p *pages) selectIDs(ctx context.Context, c *change) error {
	switch {
	case c.Name == "resume" || len(c.IDs) > 0:
		return nil
	case c.jobs():
		failures, err := p.admin.Failures(ctx, c.State)
		if err != nil {
			return err
		}
		for _, f := range failures {
			if c.Reason == nil || admin.Normalized(f.Error) == *c.Reason {
				c.IDs = append(c.IDs, f.ID)
			}
		}
	default:
		rejects, err := p.actions.ListRejects(ctx, admin.Filter{}, maxChanged)
		if err != nil {
			return err
		}
		for _, r := range rejects {
			if c.Reason == nil || admin.NormalizedReject(r.Reason) == *c.Reason {
				c.IDs = append(c.IDs, r.ID)
			}
		}
	}
	if len(c.IDs) == 0 {
		return errNothing
	}
	return nil
}

func (p *pages) previewResume(_ context.Context, c change) (question, of string, err error) {
	latest, _, _ := p.options.Watch.Latest()
	for _, q := range latest.Queues {
		if waiting := q.In("available"); q.Name == c.Queue && waiting.Jobs > 0 {
			of = count(waiting) + " waiting in it."
		}
	}
	return fmt.Sprintf("Resume queue %s?", c.Queue), of, nil
}

func (p *pages) resume(ctx context.Context, c change) (string, int64, error) {
	if err := p.admin.ResumeQueue(ctx, c.Queue); err != nil {
		return "", 0, err
	}
	return fmt.Sprintf("Queue %s was resumed.", c.Queue), 1, nil
}

func (p *pages) previewJobs(action queue.Action, does string) previewFunc {
	return func(ctx context.Context, c change) (question, of string, err error) {
		preview, err := p.admin.PreviewJobs(ctx, action, queue.Filter{IDs: c.IDs})
		if err != nil || preview.Jobs == 0 {
			return "", "", cmp.Or(err, errNothing)
		}
		var groups []string
		for _, g := range preview.Groups {
			groups = append(groups, fmt.Sprintf("%s %s in queue %s, %s", grouped(g.Jobs), g.Kind, g.Queue, g.State))
		}
		which := counted(preview.Jobs, "job", "jobs")
		if len(c.IDs) == 1 {
			which = fmt.Sprintf("job %d", c.IDs[0])
		}
		return fmt.Sprintf("%s %s?", does, which), strings.Join(groups, "; ") + ".", nil
	}
}

func (p *pages) changeJobs(action queue.Action, done string) performFunc {
	return func(ctx context.Context, c change) (string, int64, error) {
		filter := queue.Filter{IDs: c.IDs}
		preview, err := p.admin.PreviewJobs(ctx, action, filter)
		if err != nil || preview.Jobs == 0 {
			return "", 0, cmp.Or(err, errNothing)
		}
		n, err := p.admin.ChangeJobs(ctx, action, filter, preview)
		if err != nil || n == 0 {
			return "", n, cmp.Or(err, errNothing)
		}
		return counted(n, "job was ", "jobs were ") + done + "." + unchangedNote(n, c.IDs), n, nil
	}
}

func (p *pages) previewRejects(does string) previewFunc {
	return func(ctx context.Context, c change) (question, of string, err error) {
		preview, err := p.actions.PreviewRejects(ctx, admin.Filter{IDs: c.IDs})
		if err != nil || preview.Rejects == 0 {
			return "", "", cmp.Or(err, errNothing)
		}
		return fmt.Sprintf("%s %s?", does, counted(preview.Rejects, "rejected activity", "rejected activities")),
			"Of " + counted(preview.Users, "athlete", "athletes") + ".", nil
	}
}

// changeRejects calls do for the named rejects that still exist.
func (p *pages) changeRejects(do func(context.Context, change, admin.Filter, admin.RejectPreview) (string, int64, error)) performFunc {
	return func(ctx context.Context, c change) (string, int64, error) {
		filter := admin.Filter{IDs: c.IDs}
		preview, err := p.actions.PreviewRejects(ctx, filter)
		if err != nil || preview.Rejects == 0 {
			return "", 0, cmp.Or(err, errNothing)
		}
		return do(ctx, c, filter, preview)
	}
}

func (p *pages) retryRejects(ctx context.Context, c change, filter admin.Filter, preview admin.RejectPreview) (string, int64, error) {
	result, err := p.actions.RetryRejects(ctx, filter, preview)
	n := result.Retried
	if err != nil || n == 0 && len(result.Left) == 0 {
		return "", n, cmp.Or(err, errNothing)
	}
	enqueued := counted(n, "activity was", "activities were") + " enqueued again."
	if len(result.Left) == 0 {
		return enqueued + unchangedNote(n, c.IDs), n, nil
	}
	stays := fmt.Sprintf("%s rejected; number %d: %s.", counted(int64(len(result.Left)), "activity stays", "activities stay"), result.Left[0].ID, cutOff(result.Left[0].Reason))
	if n == 0 {
		return "", 0, errors.New(stays)
	}
	return enqueued + " " + stays, n, nil
}

func (p *pages) dropRejects(ctx context.Context, c change, filter admin.Filter, preview admin.RejectPreview) (string, int64, error) {
	n, err := p.actions.DropRejects(ctx, filter, preview)
	if err != nil || n == 0 {
		return "", n, cmp.Or(err, errNothing)
	}
	return counted(n, "rejected activity was", "rejected activities were") + " dropped." + unchangedNote(n, c.IDs), n, nil
}

// unchangedNote says how many of the named rows were not changed.
func unchangedNote(n int64, ids []int64) string {
	left := int64(len(ids)) - n
	if left <= 0 {
		return ""
	}
	return " " + counted(left, "other had", "others had") + " changed meanwhile."
}

// cutOff shortens a text for an address.
func cutOff(text string) string {
	const maxRunes = 200
	if runes := []rune(text); len(runes) > maxRunes {
		return string(runes[:maxRunes]) + "…"
	}
	return text
}

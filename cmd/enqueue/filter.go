package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/trainingmonkey/worker/internal/cli"
	"github.com/trainingmonkey/worker/internal/queue"
	"github.com/trainingmonkey/worker/jobs"
	"github.com/trainingmonkey/worker/workers"
)

// filterFlags select jobs or rejects.
type filterFlags struct {
	kinds, states, queues []string
	user                  int32
	olderThan             time.Duration
}

func (f *filterFlags) register(c *cobra.Command) {
	c.Flags().Int32Var(&f.user, "user", 0, "only of the user with this `id`")
	c.Flags().DurationVar(&f.olderThan, "older-than", 0, "only what is older than this `duration`, as 90m or 48h")
}

func (f *filterFlags) registerForJobs(c *cobra.Command) {
	f.register(c)
	c.Flags().StringSliceVar(&f.kinds, "kind", nil, "only jobs of this `kind`; may be repeated")
	c.Flags().StringSliceVar(&f.states, "state", nil, "only jobs in this `state`; may be repeated")
	c.Flags().StringSliceVar(&f.queues, "queue", nil, "only jobs in this `queue`; may be repeated")
	for flag, values := range map[string][]string{
		"kind":  jobs.Kinds(),
		"state": queue.States(),
		"queue": workers.QueueNames(),
	} {
		_ = c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)) // fails for an unknown flag only
	}
}

// text returns the flags of rejects as on a command line, each after a space.
func (f *filterFlags) text() (s string) {
	if f.user != 0 {
		s += fmt.Sprintf(" --user %d", f.user)
	}
	if f.olderThan != 0 {
		s += fmt.Sprintf(" --older-than %v", f.olderThan)
	}
	return s
}

// empty reports whether the flags select everything.
func (f *filterFlags) empty() bool {
	return len(f.kinds)+len(f.states)+len(f.queues) == 0 && f.user == 0 && f.olderThan == 0
}

// parse validates the flags and the ids and reports every fault at once. states are
// the allowed ones.
func (f *filterFlags) parse(c *cobra.Command, ids, states []string) (queue.Filter, error) {
	filter := queue.Filter{Kinds: f.kinds, States: f.states, Queues: f.queues, User: f.user, OlderThan: f.olderThan}
	var faults []error
	if c.Flags().Changed("user") && f.user <= 0 {
		faults = append(faults, fmt.Errorf("--user must be a positive id, got %d", f.user))
	}
	if c.Flags().Changed("older-than") && f.olderThan <= 0 {
		faults = append(faults, fmt.Errorf("--older-than must be positive, got %v", f.olderThan))
	}
	for _, s := range f.states {
		if !slices.Contains(states, s) {
			faults = append(faults, fmt.Errorf("--state must be one of %s, got %q", strings.Join(states, ", "), s))
		}
	}
	if len(ids) > 0 && !f.empty() {
		faults = append(faults, errors.New("give ids or a filter, not both"))
	}
	for _, text := range ids {
		id, err := parseID(text)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		filter.IDs = append(filter.IDs, id)
	}
	slices.Sort(filter.IDs)
	filter.IDs = slices.Compact(filter.IDs)
	if err := errors.Join(faults...); err != nil {
		return filter, &cli.UsageError{Err: err}
	}
	return filter, nil
}

// parseScope is parse for commands that change rows, which require a selection.
func (f *filterFlags) parseScope(c *cobra.Command, ids, states []string) (queue.Filter, error) {
	filter, err := f.parse(c, ids, states)
	if err == nil && len(filter.IDs) == 0 && f.empty() {
		return filter, cli.Usagef("say which: ids, or a filter; see: %s --help", c.CommandPath())
	}
	return filter, err
}

func parseID(text string) (int64, error) {
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || id <= 0 {
		return 0, cli.Usagef("an ID is a positive number, got %q", text)
	}
	return id, nil
}

// limitFlag bounds a listing.
func limitFlag(c *cobra.Command, limit *int) {
	c.Flags().IntVar(limit, "limit", 50, "show at most this `many`")
}

func checkLimit(limit int) error {
	if limit < 1 || limit > maxListed {
		return cli.Usagef("--limit must lie between 1 and %d, got %d", maxListed, limit)
	}
	return nil
}

// maxListed bounds a listing, so that it does not delay the work.
const maxListed = 10_000

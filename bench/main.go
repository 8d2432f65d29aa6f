// Command bench measures the worker side by side with its alternatives, on a
// private PostgreSQL with its default durability, and prints one table.
//
// Contestants alternate within one run, so that other load on the machine affects all of
// them; the figures are medians. A result that is not exactly correct does not count.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/trainingmonkey/worker/internal/cli"
)

func main() { os.Exit(cli.Main(run)) }

// suite is a group of contestants that do the same work.
type suite struct {
	name string
	what string
	run  func(ctx context.Context, r *rig) error
	// byName marks suites that run only if they are named.
	byName bool
}

var suites = []suite{
	{name: "ingest", what: "activities arrive and every ACWR is correct: the worker, the engine before it, plain River, a connection per query, the limit", run: ingestSuite},
	{name: "delay", what: "the worker 2 ms away from its server", run: delaySuite},
	{name: "growth", what: "the worker on tables of 0.1, 1 and 10 million activities", run: growthSuite},
	{name: "enqueue", what: "jobs put into the queue, from Go and from SQL", run: enqueueSuite},
	{name: "tokens", what: "tokens saved with their audit rows, against a connection per query", run: tokensSuite},
	{name: "backfill", what: "ACWR of everyone, against one set-based UPDATE", run: backfillSuite},
	{name: "latency", what: "enqueue to ACWR at steady rates, and beside a backfill", run: latencySuite},
	{name: "operations", what: "metrics, probes and pages, against none of them", run: operationsSuite},
	{name: "scaling", what: "1 to 8 workers on one queue, of few users and of many", run: scalingSuite, byName: true},
	{name: "snapshot", what: "a million jobs while a session holds its snapshot, and a live job a second beside them", run: snapshotSuite, byName: true},
	{name: "backlog", what: "5 million waiting jobs: the first and the last of them, and what operators ask for", run: backlogSuite, byName: true},
	{name: "fairness", what: "a live job a second beside another athlete's 100,000", run: fairnessSuite, byName: true},
	{name: "callers", what: "1 to 32 sessions that call the SQL function", run: callersSuite, byName: true},
	{name: "retention", what: "completed jobs kept for an hour, or not at all", run: retentionSuite, byName: true},
	{name: "soak", what: "2,000 activities a second for as long as -for says, with our autovacuum settings and the server's", run: soakSuite, byName: true},
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	r := &rig{log: stderr}
	asJSON := flags.Bool("json", false, "print one JSON object instead of the table")
	flags.BoolVar(&r.short, "short", false, "small sizes, one round: to check that all results are correct, not the speed")
	flags.IntVar(&r.rounds, "rounds", 5, "how often each contestant runs")
	flags.DurationVar(&r.during, "for", 2*time.Hour, "how long the suite soak runs")
	flags.Usage = func() {
		_, _ = fmt.Fprintln(stderr, "usage: go run ./bench [flags] [suite …]\n\nsuites, of which those with a * run only by name:")
		for _, s := range suites {
			name := s.name
			if s.byName {
				name += " *"
			}
			_, _ = fmt.Fprintf(stderr, "  %-12s %s\n", name, s.what)
		}
		_, _ = fmt.Fprintln(stderr, "\nflags:")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return &cli.UsageError{Err: err}
	}
	chosen, err := choose(flags.Args())
	if err != nil {
		return err
	}
	if r.short {
		r.rounds = 1
	}
	if r.rounds < 1 {
		return cli.Usagef("-rounds must be positive, got %d", r.rounds)
	}
	defer r.stop(ctx)
	if err := r.start(ctx); err != nil {
		return err
	}
	for _, s := range chosen {
		if err := s.run(ctx, r); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	if *asJSON {
		err = json.NewEncoder(stdout).Encode(report{Results: r.results, Machine: describeMachine()})
	} else {
		err = writeTable(stdout, r.results)
	}
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(r.results, func(r result) bool { return !r.Correct }); i >= 0 {
		return fmt.Errorf("%s is wrong", r.results[i].Name)
	}
	return nil
}

func choose(names []string) ([]suite, error) {
	if len(names) == 0 {
		return slices.DeleteFunc(slices.Clone(suites), func(s suite) bool { return s.byName }), nil
	}
	var chosen []suite
	for _, name := range names {
		i := slices.IndexFunc(suites, func(s suite) bool { return s.name == name })
		if i < 0 {
			var known []string
			for _, s := range suites {
				known = append(known, s.name)
			}
			return nil, cli.Usagef("there is no suite %q; there are: %s", name, strings.Join(known, ", "))
		}
		chosen = append(chosen, suites[i])
	}
	return chosen, nil
}

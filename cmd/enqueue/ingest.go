package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
	_ "time/tzdata" // --timezone works in a container without the system's files

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/trainingmonkey/worker/internal/activityfile"
	"github.com/trainingmonkey/worker/internal/cli"
	"github.com/trainingmonkey/worker/jobs"
)

// ingestFlags are the flags of `enqueue ingest`.
type ingestFlags struct {
	user        int32
	format      string
	timezone    string
	restingHR   float64
	maxHR       float64
	gender      string
	chunk       int
	live        bool
	wait        bool
	dryRun      bool
	skipInvalid bool

	command *cobra.Command // that has the flags
}

func ingestCommand(p *program) *cobra.Command {
	var flags ingestFlags
	c := &cobra.Command{
		Use:   "ingest [flags] FILE…",
		Short: "Enqueue the activities of files, or of stdin (-)",
		Long: "Read activities and enqueue them, all in one transaction: if a file has an error, nothing\n" +
			"is enqueued. Formats: ndjson and json (fields named like the columns of activities), strava-api (the list\n" +
			"of GET /athlete/activities), strava-export (activities.csv of the bulk export, its .zip or its folder, in\n" +
			"English, German, French, Spanish, Portuguese, Dutch, Japanese or Italian, also when a spreadsheet saved it).\n" +
			"Load and TRIMP are computed if the input has none. Heart rates, gender and time zone come from the\n" +
			"application's user_settings, if it has them, unless a flag overrides them. Columns that a bulk export does not\n" +
			"have keep their stored values, and so do a TRIMP that was computed from more and a day that is known better;\n" +
			"--dry-run shows what would change, and also works without a database. Activities that are likely the\n" +
			"same training as an earlier one of the day are counted; see enqueue doubles --help.",
		Example: "  enqueue ingest --user 7 --timezone US/Pacific --wait activities.csv\n" +
			"  enqueue ingest --dry-run --user 7 export.zip\n" +
			"  echo '{\"activity_id\":1,\"user_id\":7,\"date\":\"2025-09-28\",\"total_load_miles\":6.2}' | enqueue ingest -",
		Args: filesNamed,
		RunE: func(c *cobra.Command, files []string) error {
			options, err := flags.options()
			if err != nil {
				return err
			}
			source := &activities{files: files, options: options, flags: flags, program: p}
			if flags.dryRun && p.JSON {
				return cli.Usagef("--dry-run is for people; it takes no --json")
			}
			if flags.dryRun {
				return p.dryRun(c.Context(), source)
			}
			return p.withDatabase(c.Context(), "enqueue ingest", func(db *database) error { return db.ingest(c.Context(), source) })
		},
	}
	f := c.Flags()
	f.Int32Var(&flags.user, "user", 0, "`id` of the user; required for Strava's formats")
	f.StringVar(&flags.format, "format", "auto", "auto, ndjson, json, strava-api or strava-export")
	f.StringVar(&flags.timezone, "timezone", "", "where the athlete lives, as US/Pacific: UTC start times become local dates")
	flags.registerHeartRate(c)
	f.IntVar(&flags.chunk, "chunk", 100, "activities in one job, 1 to 1000")
	f.BoolVar(&flags.live, "live", false, "work them before imports of others, as if just synced")
	f.BoolVar(&flags.wait, "wait", false, "wait until they are stored with their results")
	f.BoolVar(&flags.dryRun, "dry-run", false, "read and check everything, say what would change and what is implausible, enqueue nothing")
	p.JSONFlag(c, "a JSON object")
	f.BoolVar(&flags.skipInvalid, "skip-invalid", false, "report invalid activities and enqueue the rest")
	return c
}

// filesNamed checks that files are given, and stdin at most once.
func filesNamed(_ *cobra.Command, files []string) error {
	if len(files) == 0 {
		return errors.New("name a file to read, or - for stdin")
	}
	if first := slices.Index(files, "-"); first >= 0 && slices.Contains(files[first+1:], "-") {
		return errors.New("stdin (-) can be read only once")
	}
	return nil
}

// options validates the flags together.
func (f ingestFlags) options() (activityfile.Options, error) {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	format, err := activityfile.ParseFormat(f.format)
	if err != nil {
		fault("--%w", err) // it begins with the name
	}
	heartRate, err := f.heartRate()
	faults = append(faults, err)
	var location *time.Location
	if f.timezone != "" {
		if location, err = time.LoadLocation(f.timezone); err != nil {
			fault("--timezone: must be a name of the IANA database, as US/Pacific or Europe/Berlin: %w", err)
		}
	}
	if f.chunk < 1 || f.chunk > jobs.MaxActivitiesPerJob {
		fault("--chunk: must be 1 to %d, got %d", jobs.MaxActivitiesPerJob, f.chunk)
	}
	if f.user < 0 {
		fault("--user: must be positive, got %d", f.user)
	}
	if err := errors.Join(faults...); err != nil {
		return activityfile.Options{}, &cli.UsageError{Err: err}
	}
	return activityfile.Options{Format: format, UserID: f.user, Location: location, HeartRate: heartRate, Unloaded: true}, nil
}

func (f ingestFlags) priority() int {
	if f.live {
		return jobs.PriorityLive
	}
	return jobs.PriorityBulk
}

// readerTimeout is how long the import's transaction may wait for its input,
// such as a slow pipe, before the server ends it.
const readerTimeout = "10min"

// ingest enqueues everything in one transaction.
func (db *database) ingest(ctx context.Context, source *activities) error {
	ids, err := db.enqueueAll(ctx, source)
	if err != nil {
		return fmt.Errorf("%w\nnothing was enqueued", err)
	}
	if !db.JSON {
		db.Printf("enqueued %s in %s\n", source.summary(), cli.Counted(len(ids), "job", "jobs"))
	}
	result := source.result(ids)
	var waitErr error
	if source.flags.wait && len(ids) > 0 {
		waitErr = db.waitFor(ctx, source, &result)
	}
	return errors.Join(db.Show(result, func() {}), waitErr)
}

// enqueueAll does not retry its transaction, because the input has been consumed.
func (db *database) enqueueAll(ctx context.Context, source *activities) ([]int64, error) {
	tx, err := db.pool.Begin(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = tx.Rollback(ctx) }()
	if _, err := tx.Exec(ctx, `SET LOCAL idle_in_transaction_session_timeout = '`+readerTimeout+`'`); err != nil {
		return nil, err
	}
	if err := source.askApplication(ctx, tx); err != nil {
		return nil, err
	}
	ids, err := enqueueChunks(ctx, tx, db.enqueuer, source)
	if err != nil {
		return nil, err
	}
	if err := tx.Commit(ctx); err != nil {
		return nil, fmt.Errorf("commit: %w", err)
	}
	return ids, nil
}

func enqueueChunks(ctx context.Context, tx pgx.Tx, enqueuer *jobs.Enqueuer, source *activities) (ids []int64, err error) {
	err = source.inPortions(ctx, tx, func(held []jobs.Activity) error {
		sortByDate(held)
		var ready []jobs.ActivityIngest
		for chunk := range slices.Chunk(held, source.flags.chunk) {
			ready = append(ready, jobs.ActivityIngest{Activities: chunk})
		}
		if source.flags.wait {
			if err := source.noteUnknown(ctx, tx, held); err != nil {
				return err
			}
		}
		inserted, err := enqueuer.IngestTx(ctx, tx, source.flags.priority(), ready...)
		ids = append(ids, inserted...)
		return err
	})
	return ids, err
}

// sortByDate sorts by athlete and date, because a day that is stored before earlier
// ones is written again with each of them. Versions of an activity keep their order,
// because the last one wins, and are sorted by its date.
func sortByDate(activities []jobs.Activity) {
	type key struct {
		userID     int32
		activityID int64
	}
	identify := func(a *jobs.Activity) key { return key{a.UserID, a.ActivityID} }
	dates := make(map[key]string, len(activities)) // of the last version
	for i := range activities {
		dates[identify(&activities[i])] = activities[i].Date
	}
	slices.SortStableFunc(activities, func(a, b jobs.Activity) int {
		return cmp.Or(cmp.Compare(a.UserID, b.UserID), cmp.Compare(dates[identify(&a)], dates[identify(&b)]))
	})
}

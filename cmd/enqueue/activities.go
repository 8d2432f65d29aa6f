package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/internal/activityfile"
	"github.com/trainingmonkey/worker/internal/cli"
	"github.com/trainingmonkey/worker/jobs"
)

// activities reads the files of an import, one after the other.
type activities struct {
	*program
	files   []string
	options activityfile.Options
	flags   ingestFlags

	bar    *cli.Bar // of the current file
	warned int
	failed error // error of the database, which is queried while the input is read

	count, invalid, unloaded int
	deleted                  int
	datedByUTC               bool
	unknown                  []int64 // ids not stored before
	users                    map[int32]struct{}
	first, last              string
	implausible              firstFew
	doubles                  importDoubles
}

// maxReported is how many invalid activities are reported one by one.
const maxReported = 20

// all yields the activities of all files. An error is final; for invalid input it is a
// usage error that names file, line and field. With --skip-invalid, invalid records are
// reported and skipped.
func (a *activities) all() iter.Seq2[jobs.Activity, error] {
	a.users = map[int32]struct{}{}
	return func(yield func(jobs.Activity, error) bool) {
		for _, file := range a.files {
			if err := a.file(file, yield); err != nil {
				if a.failed != nil {
					yield(jobs.Activity{}, a.failed)
				} else if !errors.Is(err, errStopped) {
					yield(jobs.Activity{}, &cli.UsageError{Err: err})
				}
				return
			}
		}
		if a.invalid > maxReported {
			a.Warnf("skipped %s\n", cli.Counted(a.invalid-maxReported, "more invalid activity", "more invalid activities"))
		}
	}
}

// portionSize is how many activities are processed at a time, and roughly how many an
// import has in memory.
const portionSize = 20_000

// inPortions passes all activities to work, in portions, and finds the likely doubles
// among them. If tx is nil, they are not compared with stored activities.
func (a *activities) inPortions(ctx context.Context, tx pgx.Tx, work func([]jobs.Activity) error) error {
	var held []jobs.Activity
	for activity, err := range a.all() {
		if err := cmp.Or(err, ctx.Err()); err != nil {
			return err
		}
		if err := a.doubles.note(ctx, tx, activity); err != nil {
			return err
		}
		if held = append(held, activity); len(held) == portionSize {
			if err := work(held); err != nil {
				return err
			}
			held = held[:0]
		}
	}
	if len(held) > 0 {
		if err := work(held); err != nil {
			return err
		}
	}
	return a.doubles.compare(ctx, tx)
}

// errStopped ends the iteration when the caller breaks.
var errStopped = errors.New("stopped")

func (a *activities) file(path string, yield func(jobs.Activity, error) bool) (err error) {
	reader, err := activityfile.Open(path, a.in, a.options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, reader.Close()) }()
	a.bar = a.NewBar(reader.Size(), "reading "+path, "activity", "activities")
	defer a.bar.Finish()
	if reader.DatedByUTC() {
		a.datedByUTC = true
		a.warn(path + ": no time zone is known, so dates are those of UTC, and what began in the evening may count on another day; give --timezone")
	}
	if missing := reader.Missing(); len(missing) > 0 {
		a.warn(fmt.Sprintf("%s: has no column that is known as %s, so loads are computed without", path, strings.Join(missing, ", ")))
	}
	for {
		activity, err := reader.Next()
		var fault *activityfile.RecordError
		switch {
		case errors.Is(err, io.EOF):
			a.unloaded += reader.Skipped()
			return nil
		case a.failed != nil:
			return a.failed
		case errors.Is(err, activityfile.ErrOtherUser):
			return err // --skip-invalid skips faulty records, not the wrong file
		case errors.As(err, &fault) && a.flags.skipInvalid:
			a.skip(fault)
			continue
		case err != nil:
			return err
		}
		a.note(activity)
		a.bar.Count(reader.BytesRead(), int64(a.count))
		if !yield(activity, nil) {
			return errStopped
		}
	}
}

func (a *activities) skip(fault error) {
	if a.invalid++; a.invalid <= maxReported {
		a.bar.Say(fmt.Sprintf("skipped: %v", fault))
	}
}

// warn prints a warning.
func (a *activities) warn(what string) {
	if a.warned++; a.warned <= maxReported {
		a.bar.Say("warning: " + what)
	}
}

func (a *activities) note(activity jobs.Activity) {
	if activity.Unloaded {
		return // the reader counts it
	}
	a.count++
	if activity.Deleted {
		a.deleted++
	}
	a.users[activity.UserID] = struct{}{}
	if a.first == "" || activity.Date < a.first {
		a.first = activity.Date
	}
	a.last = max(a.last, activity.Date)
	a.noteImplausible(activity)
}

// summary describes what was read.
func (a *activities) summary() string {
	s := cli.Counted(a.count, "activity", "activities")
	if a.count > 0 {
		s += " of " + cli.Counted(len(a.users), "user", "users") + " from " + a.first
	}
	if a.last > a.first {
		s += " to " + a.last
	}
	if a.unloaded > 0 {
		s += fmt.Sprintf(" (left out %d without training load)", a.unloaded)
	}
	if a.invalid > 0 {
		s += fmt.Sprintf(" (left out %d invalid)", a.invalid)
	}
	if a.implausible.count > 0 {
		s += fmt.Sprintf(" (%d implausible)", a.implausible.count)
	}
	if a.doubles.count > 0 {
		s += " (" + cli.Counted(a.doubles.count, "likely double", "likely doubles") + ")"
	}
	return s
}

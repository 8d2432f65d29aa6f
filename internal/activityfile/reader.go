package activityfile

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/trainingmonkey/worker/internal/trainingload"
	"github.com/trainingmonkey/worker/jobs"
)

// Options has what the file does not state.
type Options struct {
	// Format is how the file is written; zero means Auto.
	Format Format
	// UserID becomes the user of every activity. Zero: every activity carries
	// its own, which those of Strava cannot.
	UserID int32
	// Location is where the athlete lives: the start of an activity, which
	// Strava gives in UTC, becomes a date and a time there. Nil: the local time
	// that Strava's API states, and UTC for the export, which states none.
	Location *time.Location
	// HomeLocation is Location where the input states no local time at all.
	HomeLocation *time.Location
	// HeartRate is for the TRIMP of activities that come without one. Zero
	// fields take trainingload.DefaultHeartRate.
	HeartRate trainingload.HeartRate
	// UserHeartRate, if not nil, is called instead, once for each activity whose TRIMP is
	// to be computed. If it returns the zero HeartRate, because the athlete's is unknown
	// or unusable, the activity has no TRIMP. An error makes that activity invalid.
	UserHeartRate func(userID int32) (trainingload.HeartRate, error)
	// Unloaded makes Next also return activities whose type has no training load, marked
	// as such: one that was stored as another type has to lose its load.
	Unloaded bool
}

// Reader reads the activities of one file. Only BytesRead may be called concurrently.
type Reader struct {
	source  *source
	format  Format
	parser  parser
	home    *time.Location // of the athlete, nil when it is not known
	passOn  bool           // Options.Unloaded
	skipped int
	final   error
}

// parser reads the next activity. With errUnloaded the activity is to be skipped; it is
// marked Unloaded if it can be identified. After a *RecordError the parser can read on;
// any other error ends it.
type parser interface {
	next() (jobs.Activity, error)
}

var errUnloaded = errors.New("no training load")

// Open opens a file, or stdin when path is "-", and detects its format. The
// caller closes the Reader; stdin is not closed.
func Open(path string, stdin io.Reader, o Options) (*Reader, error) {
	o.HeartRate = o.HeartRate.WithDefaults()
	if err := o.HeartRate.Validate(); err != nil {
		return nil, err
	}
	if o.UserID < 0 {
		return nil, fmt.Errorf("user must be a positive number, got %d", o.UserID)
	}
	format, err := ParseFormat(string(o.Format))
	if err != nil {
		return nil, err
	}
	s, err := openSource(path, stdin)
	if err != nil {
		return nil, err
	}
	if format == Auto {
		format, err = s.detect()
	}
	r := &Reader{source: s, format: format, home: cmp.Or(o.Location, o.HomeLocation), passOn: o.Unloaded}
	if err == nil {
		err = r.start(o)
	}
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return r, nil
}

func (r *Reader) start(o Options) error {
	strava := r.format == StravaAPI || r.format == StravaExport
	switch {
	case strava && o.UserID == 0:
		return fmt.Errorf("open %s: %s does not say whose activities these are: name the user with --user", r.source.name, r.format)
	case r.source.zipped && r.format != StravaExport:
		return fmt.Errorf("open %s: a zip archive can only be %s, got format %s", r.source.name, StravaExport, r.format)
	}
	switch r.format {
	case NDJSON:
		r.parser = &lineParser{source: r.source, decode: activityDecoder{o}.decode}
	case JSON:
		r.parser = newListParser(r.source, activityDecoder{o}.decode)
	case StravaAPI:
		r.parser = newListParser(r.source, stravaDecoder{o}.decode)
	default:
		export, err := newExportParser(r.source, o)
		if err != nil {
			return err
		}
		r.parser = export
	}
	return nil
}

// Next returns the next activity and io.EOF behind the last one. After a
// *RecordError it may be called again and goes on behind the faulty record; any
// other error is final and returned from then on.
func (r *Reader) Next() (jobs.Activity, error) {
	for r.final == nil {
		activity, err := r.parser.next()
		var fault *RecordError
		switch {
		case err == nil:
			return activity, nil
		case errors.Is(err, errUnloaded):
			if r.skipped++; r.passOn && activity.Unloaded {
				return activity, nil
			}
		case errors.As(err, &fault):
			return jobs.Activity{}, fault
		default:
			r.final = err
		}
	}
	return jobs.Activity{}, r.final
}

// DatedByUTC reports that the file states the start of activities in UTC alone and
// that no time zone was given: their dates are those of UTC.
func (r *Reader) DatedByUTC() bool { return r.format == StravaExport && r.home == nil }

// Missing names the columns, in English, that loads are computed from and that
// the file does not have.
func (r *Reader) Missing() []string {
	if export, ok := r.parser.(*exportParser); ok {
		return export.missing(loadColumns)
	}
	return nil
}

// Skipped counts the records so far whose type has no training load (yoga, golf,
// rest days): they are not activities to ingest.
func (r *Reader) Skipped() int { return r.skipped }

// Size is the size of the file in bytes, or 0 when it is not known.
func (r *Reader) Size() int64 { return r.source.size }

// BytesRead counts towards Size; because of buffering it is ahead of Next.
func (r *Reader) BytesRead() int64 { return r.source.read.Load() }

// Close closes the file.
func (r *Reader) Close() error { return r.source.close() }

// withoutLoad marks an activity whose type has no training load, if it can be
// identified.
func withoutLoad(a jobs.Activity) (jobs.Activity, error) {
	if a.Unloaded, a.Partial = true, true; a.Validate() != nil {
		return jobs.Activity{}, errUnloaded
	}
	return a, errUnloaded
}

// heartRate returns the heart rates for the TRIMP of a user's activity.
func (o Options) heartRate(userID int32) (trainingload.HeartRate, error) {
	if o.UserHeartRate == nil {
		return o.HeartRate, nil
	}
	return o.UserHeartRate(userID)
}

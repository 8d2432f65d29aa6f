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

// Options has what the file does not contain.
type Options struct {
	// Format is how the file is written; zero means Auto.
	Format Format
	// UserID becomes the user of every activity. If zero, every activity must
	// have its own, which Strava's do not.
	UserID int32
	// Location is the athlete's time zone, in which Strava's UTC start of an
	// activity becomes a date and a time. If nil, it is the local time of
	// Strava's API, and UTC for the export, which has no local time.
	Location *time.Location
	// HomeLocation replaces a nil Location for input without local times.
	HomeLocation *time.Location
	// HeartRate is for the TRIMP of activities that have none. Zero fields are
	// taken from trainingload.DefaultHeartRate.
	HeartRate trainingload.HeartRate
	// UserHeartRate, if not nil, is called instead, once for each activity whose TRIMP is
	// to be computed. If it returns the zero HeartRate, because the athlete's is unknown
	// or unusable, the activity has no TRIMP. An error makes that activity invalid.
	UserHeartRate func(userID int32) (trainingload.HeartRate, error)
	// Unloaded makes Next also return activities whose type has no training load, marked
	// as such, because one that was stored as another type has to lose its load.
	Unloaded bool
}

// Reader reads the activities of one file. Only BytesRead may be called concurrently.
type Reader struct {
	source  *source
	format  Format
	parser  parser
	home    *time.Location // of the athlete, nil if unknown
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

// Next returns the next activity, and io.EOF after the last one. After a
// *RecordError it may be called again and continues after the invalid record;
// any other error is final and returned from then on.
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

// DatedByUTC reports whether the dates of activities are those of UTC, because the
// file has no local times and no time zone was given.
func (r *Reader) DatedByUTC() bool { return r.format == StravaExport && r.home == nil }

// Missing returns the English names of the columns from which loads are
// computed and which the file lacks.
func (r *Reader) Missing() []string {
	if export, ok := r.parser.(*exportParser); ok {
		return export.missing(loadColumns)
	}
	return nil
}

// Skipped counts the records so far that are not ingested, because their type
// has no training load (yoga, golf, rest days).
func (r *Reader) Skipped() int { return r.skipped }

// Size returns the size of the file in bytes, or 0 if unknown.
func (r *Reader) Size() int64 { return r.source.size }

// BytesRead returns how many bytes of Size were read. Because of buffering it
// is ahead of Next.
func (r *Reader) BytesRead() int64 { return r.source.read.Load() }

// Close closes the file.
func (r *Reader) Close() error { return r.source.close() }

// withoutLoad marks an activity whose type has no training load, if it can be identified.
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

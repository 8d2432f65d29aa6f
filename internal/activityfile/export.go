package activityfile

import (
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/trainingmonkey/worker/internal/trainingload"
	"github.com/trainingmonkey/worker/jobs"
)

// exportParser reads the activities.csv of Strava's bulk export.
type exportParser struct {
	Options
	name    string
	csv     *csv.Reader
	limit   *recordLimit
	columns map[string][]int // where a name stands; several stand twice
	line    int              // of the record read last
}

// requiredColumns are in every export. The others are read when they are there,
// and newer exports have more of them.
var requiredColumns = []string{"Activity ID", "Activity Date", "Activity Name", "Activity Type", "Elapsed Time", "Distance"}

func newExportParser(s *source, o Options) (*exportParser, error) {
	limit := &recordLimit{in: s.data}
	p := &exportParser{Options: o, name: s.name, csv: csv.NewReader(limit), limit: limit, columns: map[string][]int{}, line: 1}
	p.csv.ReuseRecord = true
	limit.renew()
	header, err := p.csv.Read()
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("open %s: is empty but for blanks", s.name)
	}
	if err != nil {
		return nil, fmt.Errorf("read the header of %s: %w", s.name, err)
	}
	for i, column := range header {
		column = strings.TrimSpace(column)
		p.columns[column] = append(p.columns[column], i)
	}
	var missing []string
	for _, column := range requiredColumns {
		if len(p.columns[column]) == 0 {
			missing = append(missing, column)
		}
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("%s:1: the header lacks %s: expected the columns %s, named in English, got %q",
			s.name, strings.Join(missing, ", "), strings.Join(requiredColumns, ", "), clip(strings.ToValidUTF8(strings.Join(header, ","), "�")))
	}
	return p, nil
}

func (p *exportParser) next() (jobs.Activity, error) {
	p.limit.renew()
	cells, err := p.csv.Read()
	if err != nil {
		return jobs.Activity{}, p.readError(cells, err)
	}
	p.line, _ = p.csv.FieldPos(0)
	activity, err := p.decode(exportRecord{cells, p.columns})
	if err != nil && !errors.Is(err, errUnloaded) {
		err = recordError(p.name, p.line, 0, err)
	}
	return activity, err
}

// readError tells faults of one record from those that leave no way to find the
// next.
func (p *exportParser) readError(cells []string, err error) error {
	var malformed *csv.ParseError
	switch {
	case errors.Is(err, io.EOF):
		return io.EOF
	case !errors.As(err, &malformed):
		return fmt.Errorf("read %s behind line %d: %w", p.name, p.line, err)
	case errors.Is(err, csv.ErrFieldCount):
		return recordError(p.name, malformed.StartLine, 0, fmt.Errorf("has %d fields, the header has %d", len(cells), p.csv.FieldsPerRecord))
	case malformed.Line == malformed.StartLine:
		return recordError(p.name, malformed.StartLine, 0, fmt.Errorf("column %d: %w", malformed.Column, malformed.Err))
	case p.limit.ended:
		// A quote that is never closed takes all that follows for text. That is
		// not one faulty record that could be passed over.
		return fmt.Errorf("%s:%d: a quote is left open up to the end of the file", p.name, malformed.StartLine)
	}
	return recordError(p.name, malformed.StartLine, 0,
		fmt.Errorf("a quote is left open, lines %d to %d cannot be read: %w", malformed.StartLine, malformed.Line, malformed.Err))
}

func (p *exportParser) decode(r exportRecord) (jobs.Activity, error) {
	activityType := r.cell("Activity Type")
	if !trainingload.HasTrainingLoad(activityType) {
		return jobs.Activity{}, errUnloaded
	}
	n := numbers{record: r}
	m := measured{
		id:           n.id("Activity ID"),
		activityType: strings.Clone(activityType),
		metres:       n.metres(),
		climbed:      value(n.quantity("Elevation Gain")),
		moving:       n.quantity("Moving Time"),
		elapsed:      n.quantity("Elapsed Time"),
		speed:        value(n.quantity("Average Speed")),
		avgHeartRate: value(n.quantity("Average Heart Rate")),
		maxHeartRate: value(n.quantity("Max Heart Rate")),
		celsius:      n.number("Average Temperature"),
		exertion:     value(n.quantity("Perceived Exertion")),
	}
	if name := r.cell("Activity Name"); name != "" {
		m.name = ptr(strings.Clone(name)) // a part of the line would keep all of it
	}
	var err error
	if m.start, err = exportDate(r.cell("Activity Date"), cmp.Or(p.Location, p.HomeLocation)); err != nil {
		n.faults = append(n.faults, err)
	}
	if len(n.faults) > 0 {
		return jobs.Activity{}, n.err()
	}
	return m.activity(p.Options)
}

var plainSpaces = strings.NewReplacer("\u202f", " ", "\u00a0", " ")

// exportDate reads a time like "Oct 6, 2022, 11:19:20 PM", which is UTC, as the
// wall time where the athlete lives. Some systems write a narrow space before PM.
func exportDate(s string, where *time.Location) (time.Time, error) {
	start, err := time.Parse("Jan 2, 2006, 3:04:05 PM", plainSpaces.Replace(s))
	if err != nil {
		return start, faultf("activity date", `must be a time that exists, as "Oct 6, 2022, 11:19:20 PM", got %q`, clip(s))
	}
	if where != nil {
		start = start.In(where)
	}
	return start, nil
}

// recordLimit stops a record that does not end, because a quote is left open,
// before it fills the memory.
type recordLimit struct {
	in    io.Reader
	left  int
	ended bool
}

func (l *recordLimit) renew() { l.left = maxRecordBytes }

func (l *recordLimit) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, fmt.Errorf("%w: is a quote left open?", errTooLong)
	}
	n, err := l.in.Read(p)
	l.left -= n
	l.ended = l.ended || errors.Is(err, io.EOF)
	return n, err
}

package activityfile

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/trainingmonkey/worker/internal/trainingload"
	"github.com/trainingmonkey/worker/jobs"
)

// exportParser reads the activities.csv of Strava's bulk export.
type exportParser struct {
	Options
	name     string
	csv      *csv.Reader
	limit    *recordLimit
	language exportLanguage
	columns  map[string][]int // indexes by English name
	form     numberForm
	line     int // of the record read last
}

// requiredColumns are in every export. The others are optional, and newer
// exports have more of them.
var requiredColumns = []string{"Activity ID", "Activity Date", "Activity Name", "Activity Type", "Elapsed Time", "Distance"}

// loadColumns are the other columns from which loads are computed.
var loadColumns = []string{"Moving Time", "Elevation Gain", "Average Heart Rate"}

func newExportParser(s *source, o Options) (*exportParser, error) {
	separator, err := s.separator()
	if err != nil {
		return nil, err
	}
	limit := &recordLimit{in: s.data}
	p := &exportParser{Options: o, name: s.name, csv: csv.NewReader(limit), limit: limit, line: 1}
	p.csv.ReuseRecord, p.csv.Comma = true, separator
	limit.renew()
	header, err := p.csv.Read()
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("open %s: is empty but for blanks", s.name)
	}
	if err != nil {
		return nil, fmt.Errorf("read the header of %s: %w", s.name, err)
	}
	if text := strings.Join(header, ","); !utf8.ValidString(text) {
		return nil, fmt.Errorf("%s:1: the header is not UTF-8, got %q: save the file as UTF-8, or take it as Strava made it", s.name, clip(strings.ToValidUTF8(text, "�")))
	}
	return p, p.readHeader(header)
}

func (p *exportParser) readHeader(header []string) error {
	folded := make([]string, len(header))
	for i, column := range header {
		folded[i] = foldHeader(column)
	}
	var known bool
	p.language, known = headerLanguage(folded)
	p.columns = columnIndexes(folded, p.language)
	p.form = numberForm{comma: p.language.decimalComma(), resaved: p.csv.Comma != ','}
	if missing := p.missing(requiredColumns); !known || len(missing) > 0 {
		return fmt.Errorf("%s:1: the header lacks %s: expected the columns %s, named in %s, got %q",
			p.name, strings.Join(missing, ", "), strings.Join(requiredColumns, ", "), languageNames, clip(strings.Join(header, ",")))
	}
	return nil
}

// missing returns those of the columns that the file does not have.
func (p *exportParser) missing(columns []string) []string {
	return slices.DeleteFunc(slices.Clone(columns), func(column string) bool { return len(p.columns[column]) > 0 })
}

// separator returns the separator of cells in the first line: a comma, or the one
// that a spreadsheet used instead.
func (s *source) separator() (rune, error) {
	for wanted := 1; ; {
		head, all, err := s.head(wanted)
		if err != nil {
			return 0, err
		}
		line, _, ended := bytes.Cut(bytes.TrimLeft(head, blanks), []byte("\n"))
		if !ended && !all {
			wanted = len(head) + 1
			continue
		}
		for _, separator := range ";\t" {
			if bytes.Count(line, []byte(string(separator))) > bytes.Count(line, []byte(",")) {
				return separator, nil
			}
		}
		return ',', nil
	}
}

func (p *exportParser) next() (jobs.Activity, error) {
	p.limit.renew()
	cells, err := p.csv.Read()
	if err != nil {
		return jobs.Activity{}, p.readError(cells, err)
	}
	p.line, _ = p.csv.FieldPos(0)
	activity, err := p.decode(exportRecord{cells, p.columns})
	return activity, recordError(p.name, p.line, 0, err)
}

// readError distinguishes faults of one record from those after which the next record
// cannot be found.
func (p *exportParser) readError(cells []string, err error) error {
	var malformed *csv.ParseError
	switch {
	case errors.Is(err, io.EOF):
		return io.EOF
	case !errors.As(err, &malformed):
		return fmt.Errorf("read %s behind line %d: %w", p.name, p.line, err)
	case errors.Is(err, csv.ErrFieldCount):
		fields := "fields"
		if len(cells) == 1 {
			fields = "field"
		}
		return recordError(p.name, malformed.StartLine, 0, fmt.Errorf("has %d %s, the header has %d", len(cells), fields, p.csv.FieldsPerRecord))
	case malformed.Line == malformed.StartLine:
		return recordError(p.name, malformed.StartLine, 0, fmt.Errorf("column %d: %w", malformed.Column, malformed.Err))
	case p.limit.ended:
		// After an unclosed quote the rest of the file is text, not a single invalid
		// record that could be skipped.
		return fmt.Errorf("%s:%d: a quote is left open up to the end of the file", p.name, malformed.StartLine)
	}
	return recordError(p.name, malformed.StartLine, 0,
		fmt.Errorf("a quote is left open, lines %d to %d cannot be read: %w", malformed.StartLine, malformed.Line, malformed.Err))
}

func (p *exportParser) decode(r exportRecord) (jobs.Activity, error) {
	activityType, known := p.language.englishType(r.text("Activity Type"))
	n := numberParser{record: r, form: p.form}
	start, err := exportDate(r.cell("Activity Date"), cmp.Or(p.Location, p.HomeLocation))
	if !trainingload.HasTrainingLoad(activityType) {
		return withoutLoad(jobs.Activity{
			ActivityID: n.id("Activity ID"), UserID: p.UserID, Date: start.Format(time.DateOnly), DayFromUTC: true, StartTime: new(start.Format(time.TimeOnly)),
			Name: new(strings.Clone(r.text("Activity Name"))), Type: new(strings.Clone(activityType)),
		})
	}
	if !known {
		n.fault("Activity Type", "is none that is known in the language of the file, so its load cannot be computed, got %q", clip(activityType))
	}
	m := measured{
		id:           n.id("Activity ID"),
		activityType: strings.Clone(activityType),
		metres:       n.metres(p.language, trainingload.ParseSport(activityType)),
		start:        start,
		fromUTC:      true,
		moving:       n.quantity("Moving Time"),
		elapsed:      n.quantity("Elapsed Time"),
		speed:        value(n.minor("Average Speed")),
		avgHeartRate: value(n.quantity("Average Heart Rate")),
		maxHeartRate: value(n.minor("Max Heart Rate")),
		exertion:     value(n.minor("Perceived Exertion")),
	}
	if len(p.columns["Elevation Gain"]) > 0 {
		m.climbed = new(value(n.quantity("Elevation Gain")))
	}
	if r.cell("Average Temperature") != unwritten {
		m.celsius = n.number("Average Temperature")
	}
	if name := r.text("Activity Name"); name != "" {
		m.name = new(strings.Clone(name)) // a part of the line would keep the whole line in memory
	}
	if err != nil {
		n.faults = append(n.faults, err)
	}
	if len(n.faults) > 0 {
		return jobs.Activity{}, n.err()
	}
	return m.activity(p.Options)
}

// recordLimit stops a record that does not end, because a quote is left open,
// before it exhausts memory.
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

package activityfile

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
)

// Format is the format of a file of activities.
type Format string

// The formats. All may be compressed with gzip; StravaExport may also be the
// .zip of the whole export.
const (
	Auto         Format = "auto"          // detected from the content
	NDJSON       Format = "ndjson"        // one activity per line, as jobs.Activity
	JSON         Format = "json"          // an array of activities, {"activities": […]}, or one activity
	StravaAPI    Format = "strava-api"    // the answer of Strava's GET /athlete/activities
	StravaExport Format = "strava-export" // activities.csv of Strava's bulk export
)

const formatNames = "ndjson, json, strava-api, strava-export"

// ParseFormat reads the name of a format; the empty string is Auto.
func ParseFormat(s string) (Format, error) {
	switch f := Format(s); f {
	case "":
		return Auto, nil
	case Auto, NDJSON, JSON, StravaAPI, StravaExport:
		return f, nil
	}
	return "", fmt.Errorf("format must be one of auto, %s, got %q", formatNames, s)
}

// detect detects the format, reading no more of the text than it needs.
func (s *source) detect() (Format, error) {
	if s.zipped {
		return StravaExport, nil
	}
	for wanted := 1; ; {
		head, all, err := s.head(wanted)
		if err != nil {
			return "", err
		}
		switch format := detect(head, all); {
		case format == Auto:
			wanted = len(head) + 1
			continue
		case format != "":
			return format, nil
		case len(head) < headBytes && len(bytes.TrimLeft(head, blanks)) == 0:
			return "", fmt.Errorf("open %s: is empty but for blanks", s.name)
		case strings.HasSuffix(strings.TrimSuffix(s.name, ".gz"), ".csv"):
			return StravaExport, nil // an unknown header: the reader says what it expects
		default:
			return "", fmt.Errorf("open %s: cannot determine the format from the content, which starts with %q: name one of %s", s.name, clip(string(head[:min(len(head), 20)])), formatNames)
		}
	}
}

// detect detects the format from the first bytes of a file. It returns Auto if more bytes
// are needed, but never if all is set, and "" for an unknown format.
func detect(head []byte, all bool) Format {
	head = bytes.TrimLeft(head, blanks)
	switch {
	case len(head) == 0:
		if all {
			return ""
		}
		return Auto
	case head[0] == '[' || head[0] == '{':
		return detectJSON(head, all)
	}
	start := foldHeader(strings.TrimPrefix(strings.ToValidUTF8(string(head[:min(len(head), 64)]), ""), `"`))
	undecided := false
	for language, names := range exportColumns[0] {
		for column := range strings.SplitSeq(foldHeader(names), "|") {
			if exportLanguage(language) == beforeJuly2019 {
				column += "," + exportColumns[1][language] // others begin with an id as well
			}
			if strings.HasPrefix(start, column) {
				return StravaExport
			}
			undecided = undecided || strings.HasPrefix(column, start)
		}
	}
	if undecided && !all {
		return Auto
	}
	return ""
}

const blanks = " \t\r\n"

// listStart matches the text before the first activity of a list.
var listStart = regexp.MustCompile(`^(\[|\{[ \t\r\n]*"activities"[ \t\r\n]*:[ \t\r\n]*\[)[ \t\r\n]*`)

func detectJSON(head []byte, all bool) Format {
	prefix := listStart.Find(head)
	inList, first := prefix != nil, head[len(prefix):]
	own := false
	for key := range fields(first) {
		switch key {
		case "start_date", "start_date_local", "moving_time", "elapsed_time", "resource_state", "athlete":
			return StravaAPI
		case "activity_id", "user_id":
			own = true
		}
	}
	_, ended := skipValue(first, 0)
	switch decided := own || ended || all; {
	case !decided:
		return Auto
	case inList:
		return JSON
	}
	// An object on one line is NDJSON; an object over several lines is a document.
	line, _, broken := bytes.Cut(head, []byte("\n"))
	_, ended = skipValue(line, 0)
	switch {
	case broken && !ended:
		return JSON
	case broken || all:
		return NDJSON
	}
	return Auto
}

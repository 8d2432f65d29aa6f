package activityfile

import (
	"regexp"
	"strconv"
	"strings"
	"time"
)

var plainSpaces = strings.NewReplacer("\u202f", " ", "\u00a0", " ")

// dateForms are the formats of times, with the parts of a time as groups. All times are
// in UTC. A date with slashes that does not begin with the year is refused, because
// either the day or the month may come first.
var dateForms = []*regexp.Regexp{
	// Oct 6, 2022, 11:19:20 PM; some systems write a narrow space before PM
	regexp.MustCompile(`^(?P<name>\pL{3,}) (?P<day>\d{1,2}), (?P<year>\d{4}), (?P<hour>\d{1,2}):(?P<minute>\d\d):(?P<second>\d\d) (?P<half>AM|PM)$`),
	// 9 Dec 2022, 15:24:49; 6 mrt. 2024 14:23:15; 15 janv. 2023 à 10:11:12; 8 de set. de 2026, 06:47:55
	regexp.MustCompile(`^(?P<day>\d{1,2})\.? (?:de )?(?P<name>\pL{3,})\.?(?: de)? (?P<year>\d{4})(?:,| à)? (?P<hour>\d{1,2}):(?P<minute>\d\d):(?P<second>\d\d)$`),
	// 09.12.2022, 15:24:49, and its form after a spreadsheet
	regexp.MustCompile(`^(?P<day>\d{1,2})\.(?P<month>\d{1,2})\.(?P<year>\d{4}),? (?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d))?$`),
	// 2018-09-12 15:02:23; 2026/06/29 20:14:15
	regexp.MustCompile(`^(?P<year>\d{4})[-/](?P<month>\d{1,2})[-/](?P<day>\d{1,2}) (?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d))?$`),
}

var slashes = regexp.MustCompile(`^\d{1,2}/\d{1,2}/\d{2,4}\b`)

// exportDate converts a time of the export, which is in UTC, to wall time in where.
func exportDate(s string, where *time.Location) (time.Time, error) {
	plain := plainSpaces.Replace(s)
	for _, form := range dateForms {
		parts := form.FindStringSubmatch(plain)
		if parts == nil {
			continue
		}
		if start, exists := timeFromParts(form, parts); exists {
			if where != nil {
				start = start.In(where)
			}
			return start, nil
		}
	}
	if slashes.MatchString(plain) {
		return time.Time{}, faultf("activity date", `does not say which is the day and which the month, got %q`, clip(s))
	}
	return time.Time{}, faultf("activity date", `must be a time that exists, as "Oct 6, 2022, 11:19:20 PM" or "6 Oct 2022, 23:19:20", got %q`, clip(s))
}

// timeFromParts combines the parts, and returns false for a time that does not exist.
func timeFromParts(form *regexp.Regexp, parts []string) (time.Time, bool) {
	text := func(name string) string {
		if i := form.SubexpIndex(name); i >= 0 {
			return parts[i]
		}
		return ""
	}
	number := func(name string) int {
		n, _ := strconv.Atoi(text(name)) // a few digits, or none for 0
		return n
	}
	month := time.Month(number("month"))
	if name := text("name"); name != "" {
		month = parseMonth(name)
	}
	hour := number("hour")
	if half := text("half"); half != "" {
		if hour < 1 || hour > 12 {
			return time.Time{}, false
		}
		hour %= 12
		if half == "PM" {
			hour += 12
		}
	}
	// time.Date turns 30 February into 1 or 2 March.
	start := time.Date(number("year"), month, number("day"), hour, number("minute"), number("second"), 0, time.UTC)
	exists := month != 0 && start.Month() == month && start.Day() == number("day") && hour < 24 && number("minute") < 60 && number("second") < 60
	return start, exists
}

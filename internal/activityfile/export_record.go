package activityfile

import (
	"errors"
	"regexp"
	"strconv"
	"strings"

	"github.com/trainingmonkey/worker/internal/trainingload"
)

// exportRecord is one line of activities.csv.
type exportRecord struct {
	cells   []string
	columns map[string][]int
}

// unwritten is Strava's placeholder for a value that it could not write.
const unwritten = "#error#"

// cell returns the first non-empty cell under a name: of two columns of the
// same name either may be filled.
func (r exportRecord) cell(column string) string {
	filled := ""
	for _, i := range r.columns[column] {
		if cell := strings.TrimSpace(r.cells[i]); cell != "" {
			if cell != unwritten {
				return cell
			}
			filled = cell
		}
	}
	return filled
}

// text returns a cell that is not used in computations, "" for Strava's placeholder.
func (r exportRecord) text(column string) string {
	if cell := r.cell(column); cell != unwritten {
		return cell
	}
	return ""
}

// numberParser reads cells as numbers and gathers the faults.
type numberParser struct {
	record exportRecord
	form   numberForm
	faults []error
}

func (n *numberParser) err() error {
	if len(n.faults) == 1 {
		return n.faults[0]
	}
	return errors.New(strings.ReplaceAll(errors.Join(n.faults...).Error(), "\n", "; "))
}

func (n *numberParser) fault(column, format string, args ...any) {
	n.faults = append(n.faults, faultf(strings.ToLower(column), format, args...))
}

var scientific = regexp.MustCompile(`^\d([.,]\d+)?[eE]\+?\d+$`)

func (n *numberParser) id(column string) int64 {
	cell := n.record.cell(column)
	id, err := strconv.ParseInt(cell, 10, 64)
	switch {
	case cell == "":
		n.fault(column, "is required")
	case scientific.MatchString(cell):
		n.fault(column, "has lost digits to a spreadsheet, got %q: take the file as Strava made it", clip(cell))
	case err != nil || id <= 0 || cell[0] == '+':
		n.fault(column, "must be a positive integer, got %q", clip(cell))
	}
	return id
}

// metres returns the distance. The first column of that name is in kilometres,
// for swims in metres, and formatted for display; the second, which old exports
// lack, is in metres. The oldest exports have one column, in metres.
func (n *numberParser) metres(language exportLanguage, sport trainingload.Sport) float64 {
	const column, metresPerKilometre = "Distance", 1000
	at := n.record.columns[column]
	if len(at) > 1 {
		if cell := strings.TrimSpace(n.record.cells[at[1]]); cell != "" && cell != unwritten {
			return n.atLeastZero(column, value(n.parse(column, cell)))
		}
	}
	displayed := numberParser{record: n.record, form: n.form}
	displayed.form.displayed, displayed.form.metres = language != beforeJuly2019, sport == trainingload.Swimming
	distance := displayed.atLeastZero(column, value(displayed.parse(column, n.record.cells[at[0]])))
	n.faults = append(n.faults, displayed.faults...)
	if sport == trainingload.Swimming || language == beforeJuly2019 {
		return distance
	}
	return distance * metresPerKilometre
}

// quantity reads a number that cannot be negative, nil for an empty cell.
func (n *numberParser) quantity(column string) *float64 {
	number := n.number(column)
	if number != nil {
		*number = n.atLeastZero(column, *number)
	}
	return number
}

// minor returns a quantity from which no load is computed.
func (n *numberParser) minor(column string) *float64 {
	if n.record.cell(column) == unwritten {
		return nil
	}
	return n.quantity(column)
}

func (n *numberParser) atLeastZero(column string, number float64) float64 {
	if number < 0 {
		n.fault(column, "must not be negative, got %v", number)
	}
	return number
}

func (n *numberParser) number(column string) *float64 {
	return n.parse(column, n.record.cell(column))
}

func (n *numberParser) parse(column, cell string) *float64 {
	cell = strings.TrimSpace(cell)
	switch cell {
	case "":
		return nil
	case unwritten:
		n.fault(column, "is %s: Strava could not write it", unwritten)
		return nil
	}
	number, err := n.form.parse(cell)
	if err != nil {
		n.fault(column, "%w, got %q", err, clip(cell))
		return nil
	}
	return &number
}

package activityfile

import (
	"errors"
	"strconv"
	"strings"
)

// exportRecord is one line of activities.csv.
type exportRecord struct {
	cells   []string
	columns map[string][]int
}

// cell returns the first cell under a name that is not empty: where a name
// stands twice, either may be filled.
func (r exportRecord) cell(column string) string {
	for _, i := range r.columns[column] {
		if cell := strings.TrimSpace(r.cells[i]); cell != "" {
			return cell
		}
	}
	return ""
}

// numbers reads cells as numbers and gathers the faults.
type numbers struct {
	record exportRecord
	faults []error
}

func (n *numbers) err() error {
	if len(n.faults) == 1 {
		return n.faults[0]
	}
	var all []string
	for _, fault := range n.faults {
		all = append(all, fault.Error())
	}
	return errors.New(strings.Join(all, "; "))
}

func (n *numbers) fault(column, format string, args ...any) {
	n.faults = append(n.faults, faultf(strings.ToLower(column), format, args...))
}

func (n *numbers) id(column string) int64 {
	cell := n.record.cell(column)
	id, err := strconv.ParseInt(cell, 10, 64)
	switch {
	case cell == "":
		n.fault(column, "is required")
	case err != nil || id <= 0 || cell[0] == '+':
		n.fault(column, "must be a positive integer, got %q", clip(cell))
	}
	return id
}

// metres is the distance. The first column of that name is in kilometres; the
// second, which is finer and which old exports do not have, is in metres.
func (n *numbers) metres() float64 {
	const column = "Distance"
	at := n.record.columns[column]
	if len(at) > 1 {
		if metres := n.parse(column, n.record.cells[at[1]]); metres != nil {
			return n.atLeastZero(column, *metres)
		}
	}
	const metresPerKilometre = 1000
	return n.atLeastZero(column, value(n.parse(column, n.record.cells[at[0]]))*metresPerKilometre)
}

// quantity reads a number that cannot be negative, nil for an empty cell.
func (n *numbers) quantity(column string) *float64 {
	number := n.number(column)
	if number != nil {
		*number = n.atLeastZero(column, *number)
	}
	return number
}

func (n *numbers) atLeastZero(column string, number float64) float64 {
	if number < 0 {
		n.fault(column, "must not be negative, got %v", number)
	}
	return number
}

func (n *numbers) number(column string) *float64 {
	return n.parse(column, n.record.cell(column))
}

// parse reads a decimal number. strconv alone would also take NaN, inf,
// hexadecimal digits and underscores.
func (n *numbers) parse(column, cell string) *float64 {
	cell = strings.TrimSpace(cell)
	if cell == "" {
		return nil
	}
	number, err := strconv.ParseFloat(cell, 64)
	if err != nil || strings.Trim(cell, "0123456789.eE+-") != "" {
		n.fault(column, "must be a decimal number, got %q", clip(cell))
		return nil
	}
	return &number
}

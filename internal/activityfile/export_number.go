package activityfile

import (
	"errors"
	"regexp"
	"strconv"
	"strings"
)

// numberForm is how numbers of a column are written.
type numberForm struct {
	comma     bool // the language of the file has decimal commas
	resaved   bool // by a spreadsheet of a language with decimal commas: separators may be the file's or the spreadsheet's
	displayed bool // the column is formatted for display: two decimals, separated thousands
	metres    bool // a displayed distance is in metres, without decimals
}

var (
	errNoNumber  = errors.New("must be a decimal number")
	errTwoValues = errors.New("has a separator that may be that of decimals or of thousands")

	thousandsByComma = regexp.MustCompile(`^-?\d{1,3}(,\d{3})+(\.\d+)?$`)
	thousandsByPoint = regexp.MustCompile(`^-?\d{1,3}(\.\d{3})+(,\d+)?$`)
	thousandsBySpace = regexp.MustCompile(`^-?\d{1,3}( \d{3})+([.,]\d+)?$`)
	byComma          = regexp.MustCompile(`^-?\d+,\d+$`)
)

// parse parses a number. An ambiguous one is an error.
func (f numberForm) parse(cell string) (float64, error) {
	cell = plainSpaces.Replace(cell)
	if thousandsBySpace.MatchString(cell) {
		cell = strings.ReplaceAll(cell, " ", "")
	}
	points, commas := strings.Count(cell, "."), strings.Count(cell, ",")
	switch {
	case commas == 0 && points <= 1:
		if f.comma && f.displayed && thousandsByPoint.MatchString(cell) && cell[0] != '0' {
			if !f.metres {
				return 0, errTwoValues
			}
			cell = strings.ReplaceAll(cell, ".", "")
		}
	case commas == 1 && points == 0 && byComma.MatchString(cell) && (f.comma || f.resaved):
		if !f.comma && thousandsByComma.MatchString(cell) && cell[0] != '0' {
			return 0, errTwoValues
		}
		cell = strings.Replace(cell, ",", ".", 1)
	case thousandsByComma.MatchString(cell) && (!f.comma || commas > 1 || points > 0):
		cell = strings.ReplaceAll(cell, ",", "")
	case thousandsByPoint.MatchString(cell) && (f.comma || f.resaved):
		cell = strings.Replace(strings.ReplaceAll(cell, ".", ""), ",", ".", 1)
	default:
		return 0, errNoNumber
	}
	// strconv would also accept NaN, inf, hexadecimal digits and underscores.
	number, err := strconv.ParseFloat(cell, 64)
	if err != nil || strings.Trim(cell, "0123456789.eE+-") != "" {
		return 0, errNoNumber
	}
	return number, nil
}

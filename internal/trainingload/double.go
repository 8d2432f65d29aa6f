package trainingload

import "math"

// Recording has the values of a training by which two recordings of it are compared.
type Recording struct {
	Sport   string  // sport_type, "" when unknown
	Type    string  // as the source calls it, "" when unknown
	Start   string  // local time of day, HH:MM:SS, "" when unknown
	Miles   float64 // NaN when unknown
	Minutes float64 // NaN when unknown
}

// Bounds of resemblance. Athletes start watch and application one after the other, and
// the two measure distance and pauses differently.
const (
	sameStart = 5 * 60 // seconds
	sameShare = 0.05   // of the greater of two
)

// Resembles reports whether two recordings of one athlete and day are likely of the same
// training: the same kind of sport, a start within five minutes, and a distance and a
// duration within 5 % of the greater. An unknown value resembles nothing, and neither
// does a duration of 0; distances of 0 resemble each other. The kind is the sport, or the
// type if either has no sport. A start that is not a time of day only equals itself.
// Resembles is symmetric. The SQL function acwr_resembles is the same rule.
func Resembles(a, b Recording) bool {
	return a.Minutes > 0 && within(a.Minutes, b.Minutes) && within(a.Miles, b.Miles) && sameKind(a, b) && startsMatch(a.Start, b.Start)
}

// within is false for NaN, infinity and negative values.
func within(x, y float64) bool {
	greater := math.Max(x, y)
	return x >= 0 && y >= 0 && greater < math.Inf(1) && math.Abs(x-y) <= sameShare*greater
}

func sameKind(a, b Recording) bool {
	if a.Sport != "" && b.Sport != "" {
		return a.Sport == b.Sport
	}
	return a.Type != "" && a.Type == b.Type
}

func startsMatch(a, b string) bool {
	if a == b {
		return a != ""
	}
	x, known := secondOfDay(a)
	y, alsoKnown := secondOfDay(b)
	return known && alsoKnown && max(x, y)-min(x, y) <= sameStart
}

// secondOfDay parses exactly HH:MM:SS, and not 7:00:00, so that the SQL function
// can do the same.
func secondOfDay(s string) (second int, ok bool) {
	if len(s) != len("15:04:05") || s[2] != ':' || s[5] != ':' {
		return 0, false
	}
	for i, limit := range [...]int{24, 60, 60} {
		tens, ones := int(s[3*i])-'0', int(s[3*i+1])-'0'
		if tens < 0 || tens > 9 || ones < 0 || ones > 9 || tens*10+ones >= limit {
			return 0, false
		}
		second = second*60 + tens*10 + ones
	}
	return second, true
}

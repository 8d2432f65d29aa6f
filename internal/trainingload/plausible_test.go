package trainingload

import (
	"strings"
	"testing"
)

// TestImplausible has records, which are plausible, and errors of devices and
// conversions, which are not.
func TestImplausible(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		session Session
		load    float64
		want    string
	}{
		"nothing known":           {Session{}, 0, ""},
		"marathon record":         {Session{Sport: Running, Miles: 26.22, Minutes: 120.6}, 26.22, ""},
		"100 m record":            {Session{Sport: Running, Miles: 0.0621, Minutes: 9.58 / 60}, 0.06, ""},
		"250 miles in four days":  {Session{Sport: Running, Miles: 250, Feet: 40000, Minutes: 5600}, 303, ""},
		"vertical kilometre":      {Session{Sport: Running, Miles: 1.19, Feet: 3280, Minutes: 27.4}, 5.6, ""},
		"hour record":             {Session{Sport: Cycling, Miles: 35.29, Minutes: 60}, 14.7, ""},
		"walk without a duration": {Session{Sport: Running, Miles: 4}, 4, ""},
		"drive home":              {Session{Sport: Running, Miles: 12, Minutes: 25}, 12, "a speed of 28.8 mph is more than 23.4"},
		"ride taken for a run":    {Session{Sport: Running, Miles: 30, Minutes: 100}, 30, "a speed of 18 mph is more than 13.3"},
		"metres for kilometres":   {Session{Sport: Swimming, Miles: 559, Minutes: 20}, 2237, "a load of 2237 miles is more than 550; a distance of 559 miles is more than 93.6; a speed of 1677 mph is more than 5.7"},
		"watch left on":           {Session{Sport: Strength, Minutes: 9000}, 270, "a duration of 9000 minutes is more than 8640"},
		"barometer in a storm":    {Session{Sport: Cycling, Miles: 20, Feet: 20000, Minutes: 80}, 25, "climbing 15000 feet an hour is more than 7200"},
	} {
		if got := strings.Join(Implausible(c.session, c.load), "; "); got != c.want {
			t.Errorf("%s: Implausible(%+v, %v) = %q, want %q", name, c.session, c.load, got, c.want)
		}
	}
}

package trainingload

import (
	"math"
	"testing"
)

// TestResembles has each condition just met and just missed, and each field unknown.
// Every case holds in both orders.
func TestResembles(t *testing.T) {
	t.Parallel()
	unknown := math.NaN()
	run := Recording{Sport: "running", Type: "Run", Start: "07:00:00", Miles: 6, Minutes: 60}
	with := func(change func(*Recording)) Recording {
		r := run
		change(&r)
		return r
	}
	for name, c := range map[string]struct {
		other Recording
		want  bool
	}{
		"itself":                  {run, true},
		"five minutes later":      {with(func(r *Recording) { r.Start = "07:05:00" }), true},
		"a second more":           {with(func(r *Recording) { r.Start = "07:05:01" }), false},
		"five minutes before":     {with(func(r *Recording) { r.Start = "06:55:00" }), true},
		"another hour":            {with(func(r *Recording) { r.Start = "08:00:00" }), false},
		"start unknown":           {with(func(r *Recording) { r.Start = "" }), false},
		"start without seconds":   {with(func(r *Recording) { r.Start = "07:00" }), false},
		"start with one digit":    {with(func(r *Recording) { r.Start = "7:00:00" }), false},
		"start that is no time":   {with(func(r *Recording) { r.Start = "07:60:00" }), false},
		"start that is no number": {with(func(r *Recording) { r.Start = "07:0x:00" }), false},
		"5 % longer":              {with(func(r *Recording) { r.Minutes = 63 }), true},
		"more than 5 % longer":    {with(func(r *Recording) { r.Minutes = 63.2 }), false},
		"5 % shorter":             {with(func(r *Recording) { r.Minutes = 57 }), true},
		"more than 5 % shorter":   {with(func(r *Recording) { r.Minutes = 56.9 }), false},
		"duration unknown":        {with(func(r *Recording) { r.Minutes = unknown }), false},
		"no duration":             {with(func(r *Recording) { r.Minutes = 0 }), false},
		"endless":                 {with(func(r *Recording) { r.Minutes = math.Inf(1) }), false},
		"5 % farther":             {with(func(r *Recording) { r.Miles = 6.3 }), true},
		"more than 5 % farther":   {with(func(r *Recording) { r.Miles = 6.32 }), false},
		"no distance":             {with(func(r *Recording) { r.Miles = 0 }), false},
		"distance unknown":        {with(func(r *Recording) { r.Miles = unknown }), false},
		"another sport":           {with(func(r *Recording) { r.Sport = "cycling" }), false},
		"another type":            {with(func(r *Recording) { r.Type = "Trail Run" }), true},
		"sport unknown":           {with(func(r *Recording) { r.Sport = "" }), true},
		"another type, no sport":  {with(func(r *Recording) { r.Sport, r.Type = "", "Trail Run" }), false},
		"neither type nor sport":  {with(func(r *Recording) { r.Sport, r.Type = "", "" }), false},
	} {
		if got, back := Resembles(run, c.other), Resembles(c.other, run); got != c.want || back != c.want {
			t.Errorf("%s: Resembles = %v, swapped %v, want %v", name, got, back, c.want)
		}
	}
	for name, c := range map[string]struct {
		both Recording
		want bool
	}{
		"strength without distance":   {Recording{"strength", "Weight Training", "18:00:00", 0, 45}, true},
		"distance of neither known":   {Recording{"strength", "Weight Training", "18:00:00", unknown, 45}, false},
		"duration of neither known":   {Recording{"running", "Run", "18:00:00", 5, unknown}, false},
		"no duration":                 {Recording{"running", "Run", "18:00:00", 5, 0}, false},
		"start of neither known":      {Recording{"running", "Run", "", 5, 40}, false},
		"sport and type unknown":      {Recording{"", "", "18:00:00", 5, 40}, false},
		"type alone":                  {Recording{"", "Run", "18:00:00", 5, 40}, true},
		"the same start, as a source": {Recording{"running", "Run", "6 pm", 5, 40}, true},
		"negative":                    {Recording{"running", "Run", "18:00:00", -5, 40}, false},
	} {
		if got := Resembles(c.both, c.both); got != c.want {
			t.Errorf("%s: Resembles = %v, want %v", name, got, c.want)
		}
	}
}

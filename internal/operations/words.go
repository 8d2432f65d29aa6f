package operations

import (
	"fmt"
	"strconv"
	"time"

	"github.com/trainingmonkey/worker/internal/backfill"
	"github.com/trainingmonkey/worker/internal/overview"
)

// duration shows one or two units, as an operator would say it.
func duration(d time.Duration) string {
	switch {
	case d < time.Millisecond && d > 0:
		return fmt.Sprintf("%.1f ms", d.Seconds()*1000)
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%d days", int(d.Hours())/24)
}

// ago is the age of a state's oldest job, a dash for none.
func ago(age *float64) string {
	if age == nil {
		return "–"
	}
	return duration(time.Duration(max(0, *age) * float64(time.Second)))
}

// when is the time since t, as of now.
func when(now, t time.Time) string { return duration(max(0, now.Sub(t))) + " ago" }

// count shows how many jobs are in a state.
func count(s overview.State) string {
	if s.Estimated {
		return "~" + short(float64(s.Jobs))
	}
	return grouped(s.Jobs)
}

// short is a number of at most four characters and a unit.
func short(v float64) string {
	switch {
	case v >= 1e6:
		return strconv.FormatFloat(v/1e6, 'g', 3, 64) + " M"
	case v >= 1e4:
		return strconv.FormatFloat(v/1e3, 'g', 3, 64) + " k"
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

// grouped separates thousands by a narrow space.
func grouped(n int64) string {
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "\u202f" + text[i:]
	}
	return text
}

func counted(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return grouped(n) + " " + many
}

// optional shows a dash for nothing.
func optional(n *int64) string {
	if n == nil {
		return "–"
	}
	return strconv.FormatInt(*n, 10)
}

// shareOf is a backfill's progress as a bar and in words.
func shareOf(b backfill.Backfill) map[string]any {
	share := 0.0
	if b.Rows.Total > 0 {
		share = float64(b.Rows.Done) / float64(b.Rows.Total)
	}
	words := fmt.Sprintf("%s of %s rows", grouped(b.Rows.Done), grouped(b.Rows.Total))
	return map[string]any{"Bar": bar(words, share), "Words": words, "Percent": fmt.Sprintf("%.0f %%", 100*share)}
}

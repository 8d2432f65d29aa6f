package web

import (
	"fmt"
	"strconv"
	"time"

	"github.com/trainingmonkey/worker/internal/admin"
	"github.com/trainingmonkey/worker/internal/backfill"
	"github.com/trainingmonkey/worker/internal/queue"
)

// ago formats the age of a state's oldest job, none as a dash.
func ago(age *float64) string {
	if age == nil {
		return "–"
	}
	return admin.HumanReadable(time.Duration(max(0, *age) * float64(time.Second)))
}

// when formats the time since t, as of now.
func when(now, t time.Time) string {
	if age := now.Sub(t).Truncate(time.Second); age > 0 {
		return admin.HumanReadable(age) + " ago"
	}
	return "just now"
}

// in formats the time until t, as of now.
func in(now, t time.Time) string {
	if left := t.Sub(now).Truncate(time.Second); left > 0 {
		return "in " + admin.HumanReadable(left)
	}
	return "now"
}

// count shows how many jobs are in a state.
func count(s queue.StateCount) string {
	switch {
	case s.AtLeast():
		return "≥" + short(float64(s.Jobs))
	case s.Estimated:
		return "~" + short(float64(s.Jobs))
	}
	return grouped(s.Jobs)
}

// short formats a number with at most four characters and a unit.
func short(v float64) string {
	switch {
	case v >= 1e6:
		return strconv.FormatFloat(v/1e6, 'g', 3, 64) + " M"
	case v >= 1e4:
		return strconv.FormatFloat(v/1e3, 'g', 3, 64) + " k"
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

// grouped formats a number with thousands separated by narrow spaces.
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

// backfillShare returns a backfill's progress as a bar and in words.
func backfillShare(b backfill.Backfill) map[string]any {
	share := 0.0
	if b.Rows.Total > 0 {
		share = float64(b.Rows.Done) / float64(b.Rows.Total)
	}
	words := fmt.Sprintf("%s of %s rows, %s changed", grouped(b.Rows.Done), grouped(b.Rows.Total), grouped(b.RowsChanged))
	if b.FailedChunks > 0 {
		words += ", " + counted(b.FailedChunks, "chunk failed", "chunks failed")
	}
	return map[string]any{"Bar": bar(words, share), "Words": words, "Percent": fmt.Sprintf("%.0f %%", 100*share)}
}

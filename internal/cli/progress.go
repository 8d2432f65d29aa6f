package cli

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

const (
	// plainInterval is how often progress is printed without a terminal.
	plainInterval = 5 * time.Second
	// drawnInterval is how often progress is redrawn on a terminal.
	drawnInterval = 100 * time.Millisecond
	// defaultWidth is used for terminals that do not report their width.
	defaultWidth = 80
)

// Bar shows progress: on a terminal as a line that is redrawn, otherwise as a new line
// every plainInterval.
type Bar struct {
	print     func(format string, args ...any)
	what      string
	one, many string // the unit
	total     int64
	columns   func() int // of the terminal; nil without one

	done, counted int64 // counted: in the unit, if total has another one
	counts        bool
	begun, shown  time.Time
	first         int64 // done, or counted, when the bar began
	begins, drawn bool
	now           func() time.Time
	maxTextBefore int
}

// NewBar shows progress on stderr towards a total, or without an end if total is 0. one
// and many name the unit, as in "activity" and "activities".
func (p *Program) NewBar(total int64, what, one, many string) *Bar {
	b := &Bar{print: p.Warnf, what: what, one: one, many: many, total: total, shown: time.Now(), now: time.Now}
	if IsTerminal(p.Err) {
		b.columns = func() int {
			width, _ := TerminalWidth(p.Err)
			return cmp.Or(width, defaultWidth)
		}
	}
	return b
}

// Set shows how much is done.
func (b *Bar) Set(done int64) {
	b.done = done
	now := b.now()
	if !b.begins {
		b.begins, b.begun, b.first = true, now, b.amount()
	}
	interval := plainInterval
	if b.columns != nil {
		interval = drawnInterval
	}
	if now.Sub(b.shown) < interval {
		return
	}
	b.shown = now
	if b.columns == nil {
		b.print("%s\n", b.line(now, 0))
		return
	}
	b.draw(b.line(now, b.columns()))
}

// Count is Set for a total in another unit than the displayed one, such as bytes of a file.
func (b *Bar) Count(done, counted int64) {
	b.counts, b.counted = true, counted
	b.Set(done)
}

// draw overwrites the previous line.
func (b *Bar) draw(line string) {
	n := len([]rune(line))
	b.print("\r%s%s", line, strings.Repeat(" ", max(0, b.maxTextBefore-n)))
	b.drawn, b.maxTextBefore = true, n
}

// amount returns how much is done, in the displayed unit.
func (b *Bar) amount() int64 {
	if b.counts {
		return b.counted
	}
	return b.done
}

// Parts of a line that are omitted on a narrow terminal.
const (
	barCells  = 20
	rateAfter = time.Second // before that a rate is meaningless
)

// line returns one line of progress, shorter than columns unless that is 0. A long
// description is cut off before the numbers.
func (b *Bar) line(now time.Time, columns int) string {
	text, counted := "", b.amount()
	if b.total > 0 {
		share := min(1, float64(b.done)/float64(b.total))
		text = fmt.Sprintf("%3.0f %%  ", 100*share)
		if columns >= defaultWidth {
			full := int(share * barCells)
			text += "[" + strings.Repeat("=", full) + strings.Repeat(" ", barCells-full) + "]  "
		}
	}
	text += grouped(counted)
	if b.total > 0 && !b.counts {
		text, counted = text+" of "+grouped(b.total), b.total
	}
	text += " " + Noun(counted, b.one, b.many)
	if elapsed := now.Sub(b.begun); elapsed >= rateAfter {
		rate := float64(b.amount()-b.first) / elapsed.Seconds()
		if rate >= 1 {
			text += fmt.Sprintf(", %s/s", grouped(int64(rate)))
		}
		if left := b.left(elapsed); left > 0 {
			text += ", " + left.Round(time.Second).String() + " left"
		}
	}
	what := []rune(b.what)
	if room := columns - 1 - len([]rune(text)) - 2; columns > 0 && len(what) > room {
		if room < 4 {
			for last := strings.LastIndex(text, ", "); last > 0 && len(text) >= columns; last = strings.LastIndex(text, ", ") {
				text = text[:last]
			}
			return text[:min(len(text), columns-1)]
		}
		what = append(what[:room-1], '…')
	}
	return string(what) + "  " + text
}

// left returns the time until everything is done, at the speed so far; 0 if unknown.
func (b *Bar) left(elapsed time.Duration) time.Duration {
	began := b.first
	if b.counts {
		began = 0
	}
	if b.total <= 0 || b.done <= began {
		return 0
	}
	return time.Duration(float64(elapsed) * float64(b.total-b.done) / float64(b.done-began))
}

func grouped(n int64) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// Total returns the total.
func (b *Bar) Total() int64 { return b.total }

// Resize changes the total.
func (b *Bar) Resize(total int64) { b.total = total }

// Describe changes the description beside the numbers.
func (b *Bar) Describe(what string) { b.what = what }

// Say prints a line in place of the bar and redraws the bar below it.
func (b *Bar) Say(line string) {
	b.Finish()
	b.print("%s\n", line)
}

// Finish removes the bar; it comes back with the next Set.
func (b *Bar) Finish() {
	if b.drawn {
		b.print("\r%s\r", strings.Repeat(" ", b.maxTextBefore))
		b.drawn, b.maxTextBefore = false, 0
	}
}

package cli

import (
	"fmt"
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
)

// plainInterval is how often progress is told where there is no terminal.
const plainInterval = 5 * time.Second

// Bar shows progress: a bar on a terminal, now and then a line otherwise. The
// zero value shows nothing and may be finished.
type Bar struct {
	w     io.Writer
	what  string
	total int64
	drawn *progressbar.ProgressBar // nil where there is no terminal
	told  time.Time
}

// NewBar shows progress towards total, or without an end when total is 0.
func NewBar(w io.Writer, total int64, what string) *Bar {
	b := &Bar{w: w, what: what, total: total, told: time.Now()}
	if IsTerminal(w) {
		most := total
		if most == 0 {
			most = -1
		}
		b.drawn = progressbar.NewOptions64(most,
			progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(what),
			progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(),
			progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetPredictTime(true), progressbar.OptionFullWidth())
	}
	return b
}

// Set shows how much is done.
func (b *Bar) Set(done int64) {
	if b.drawn != nil {
		_ = b.drawn.Set64(done)
		return
	}
	if time.Since(b.told) < plainInterval {
		return
	}
	b.told = time.Now()
	if b.total > 0 {
		_, _ = fmt.Fprintf(b.w, "%s: %d of %d (%d %%)\n", b.what, done, b.total, done*100/b.total)
		return
	}
	_, _ = fmt.Fprintf(b.w, "%s: %d\n", b.what, done)
}

// Total returns what there is to do.
func (b *Bar) Total() int64 { return b.total }

// Resize changes what there is to do.
func (b *Bar) Resize(total int64) {
	b.total = total
	if b.drawn != nil {
		b.drawn.ChangeMax64(total)
	}
}

// Describe changes what is said beside the numbers.
func (b *Bar) Describe(what string) {
	b.what = what
	if b.drawn != nil {
		b.drawn.Describe(what)
	}
}

// Say prints a line where the bar is, which is drawn again below it.
func (b *Bar) Say(line string) {
	if b.drawn != nil {
		_ = b.drawn.Clear()
	}
	_, _ = fmt.Fprintln(b.w, line)
}

// Finish takes the bar away.
func (b *Bar) Finish() {
	if b.drawn != nil {
		_ = b.drawn.Finish()
	}
}

package main

import (
	"fmt"
	"io"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/trainingmonkey/worker/internal/cli"
)

// plainInterval is how often progress is told where there is no terminal.
const plainInterval = 5 * time.Second

// bar shows progress: a bar on a terminal, now and then a line otherwise.
type bar struct {
	w     io.Writer
	what  string
	total int64
	drawn *progressbar.ProgressBar // nil where there is no terminal
	told  time.Time
}

// newBar shows progress towards total, or without an end when total is 0.
func newBar(w io.Writer, total int64, what string) *bar {
	b := &bar{w: w, what: what, total: total, told: time.Now()}
	if cli.IsTerminal(w) {
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

func (b *bar) set(done int64) {
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

// resize changes what there is to do.
func (b *bar) resize(total int64) {
	b.total = total
	if b.drawn != nil {
		b.drawn.ChangeMax64(total)
	}
}

// describe changes what is said beside the numbers.
func (b *bar) describe(what string) {
	b.what = what
	if b.drawn != nil {
		b.drawn.Describe(what)
	}
}

// say prints a line where the bar is, which is drawn again below it.
func (b *bar) say(line string) {
	if b.drawn != nil {
		_ = b.drawn.Clear()
	}
	_, _ = fmt.Fprintln(b.w, line)
}

func (b *bar) finish() {
	if b.drawn != nil {
		_ = b.drawn.Finish()
	}
}

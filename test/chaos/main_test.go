//go:build chaos

package chaos

import (
	"flag"
	"fmt"
	"os"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/trainingmonkey/worker/test/commandtest"
	"github.com/trainingmonkey/worker/test/dbtest"
)

var (
	long     = flag.Duration("long", 3*time.Second, "how long each fault lasts")
	commands commandtest.Commands
)

func TestMain(m *testing.M) {
	flag.Parse()
	built, remove, err := commandtest.Build("chaos")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	commands = built
	code := dbtest.Run(m)
	remove()
	removeGarbage()
	printTable()
	os.Exit(code)
}

// outcome is one line of the table.
type outcome struct {
	scenario              string
	jobs, lost            int
	recovery, slowest     time.Duration
	before, during, after float64 // completed jobs a second
}

var table struct {
	sync.Mutex
	lines []outcome
}

func record(o outcome) {
	table.Lock()
	defer table.Unlock()
	table.lines = append(table.lines, o)
}

func printTable() {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(w, "scenario\tjobs\tlost\trecovery\tslowest job\tbefore /s\tduring /s\tafter /s\t")
	for _, o := range table.lines {
		_, _ = fmt.Fprintf(w, "%s\t%d\t%d\t%v\t%v\t%.0f\t%.0f\t%.0f\t\n", o.scenario, o.jobs, o.lost,
			o.recovery.Round(10*time.Millisecond), o.slowest.Round(10*time.Millisecond), o.before, o.during, o.after)
	}
	_ = w.Flush()
}

var garbage struct {
	sync.Mutex
	dirs []string
}

func removeAtTheEnd(dir string) {
	garbage.Lock()
	defer garbage.Unlock()
	garbage.dirs = append(garbage.dirs, dir)
}

func removeGarbage() {
	garbage.Lock()
	defer garbage.Unlock()
	for _, dir := range garbage.dirs {
		_ = os.RemoveAll(dir)
	}
}

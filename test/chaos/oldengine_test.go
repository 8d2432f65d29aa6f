//go:build chaos

package chaos

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/trainingmonkey/worker/test/commandtest"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// oldSettings are the old workers' settings.
var oldSettings = []string{
	"TMWORKER_SHUTDOWN_GRACE=10s", "TMWORKER_BATCHING_FLUSH_TIMEOUT=3s", "TMWORKER_DATABASE_STATEMENT_TIMEOUT=5s",
	"TMWORKER_DATABASE_ACQUIRE_TIMEOUT=2s", "TMWORKER_DATABASE_CONNECT_TIMEOUT=2s",
}

// oldCommands builds the old worker once.
var oldCommands = sync.OnceValues(func() (commandtest.Commands, error) {
	dir, err := os.MkdirTemp("", "old-engine")
	if err != nil {
		return "", err
	}
	removeAtTheEnd(dir)
	binary, err := commandtest.BuildEngineBeforeLanes(context.Background(), dir)
	return commandtest.Commands(filepath.Dir(binary)), err
})

// TestRollingDeployFromTheOldEngine replaces workers whose jobs River fetches by workers
// with lanes, under load: migrate, then start each new one before an old one stops.
func TestRollingDeployFromTheOldEngine(t *testing.T) {
	t.Parallel()
	r := beforeLanes(t)
	r.fault(func() {
		r.migrate()
		for _, old := range append(r.workers[:0:0], r.workers...) {
			r.startWorker()
			time.Sleep(*long / 3)
			r.stopCleanly(old)
		}
	})
	r.end()
	r.whoWorked()
}

// TestBackToTheOldEngine starts workers with lanes beside old ones, which continue
// after the new migrations but could not start any more, and stops the new ones again
// under load: the old ones finish the work.
func TestBackToTheOldEngine(t *testing.T) {
	t.Parallel()
	r := beforeLanes(t)
	old := slices.Clone(r.workers)
	r.fault(func() {
		r.migrate()
		for range old {
			r.startWorker()
		}
		time.Sleep(*long)
		for _, lanes := range append(r.workers[:0:0], r.workers[len(old):]...) {
			r.stopCleanly(lanes)
			time.Sleep(*long / 3)
		}
	})
	late := r.startOld(t)
	r.end()
	r.whoWorked()
	if code := late.Exit(t, time.Second); code == 0 || !strings.Contains(late.Log(), "deploy that version or a newer one") {
		t.Errorf("an old worker started on the newer database, or did not report why it cannot: exit code %d\n%s", code, late.Log())
	}
}

// beforeLanes returns a database with two old workers under load.
func beforeLanes(t *testing.T) *rig {
	t.Helper()
	old, err := oldCommands()
	if err != nil {
		t.Fatal(err)
	}
	u := dbtest.New(t)
	r := &rig{T: t, url: u, through: u}
	if _, stderr, code := old.Run(t, u, "worker", "migrate", "up"); code != 0 {
		t.Fatalf("migrate: %s", stderr)
	}
	for range 2 {
		r.startOld(t)
	}
	r.begin(0)
	return r
}

func (r *rig) startOld(t *testing.T) *commandtest.Process {
	t.Helper()
	old, err := oldCommands()
	if err != nil {
		t.Fatal(err)
	}
	return r.start(old, "worker", oldSettings)
}

func (r *rig) migrate() {
	r.Helper()
	if _, stderr, code := commands.Run(r.T, r.url, "worker", "migrate", "up"); code != 0 {
		r.Fatalf("migrate: %s", stderr)
	}
}

// whoWorked logs which workers completed the jobs, and fails unless both old and new
// ones did.
func (r *rig) whoWorked() {
	r.Helper()
	byOld, byNew := 0, 0
	for w := range r.names {
		done := r.count(`SELECT count(*) FROM river.river_job WHERE state = 'completed' AND attempted_by[array_upper(attempted_by, 1)] LIKE '%-' || $1::text || '-%'`, strconv.Itoa(w.Process.Pid))
		if strings.HasPrefix(w.Path, string(commands)) {
			byNew += done
		} else {
			byOld += done
		}
	}
	r.Logf("%d jobs were completed by old workers, %d by lanes", byOld, byNew)
	if byOld == 0 || byNew == 0 {
		r.Error("one kind of worker did nothing")
	}
}

package adoption

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/test/commandtest"
)

var discard = slog.New(slog.DiscardHandler)

var shellBlock = regexp.MustCompile("(?ms)^```sh\n(.*?)^```$")

// cutover is a shell for the documentation's commands. A worker runs until the next one
// starts, as in a deployment.
type cutover struct {
	t      *testing.T
	dir    string
	env    []string
	worker *exec.Cmd
}

func newCutover(t *testing.T, pool *dbpool.Pool) *cutover {
	t.Helper()
	commands, remove, err := commandtest.Build("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(remove)
	c := &cutover{t: t, dir: t.TempDir(), env: append(os.Environ(), "DATABASE_URL="+pool.Config().ConnString(), "TMWORKER_OPERATIONS_LISTEN=127.0.0.1:0")}
	for _, name := range []string{"worker", "enqueue"} {
		if err := os.Symlink(filepath.Join(string(commands), name), filepath.Join(c.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(c.stopWorker)
	return c
}

// run runs the commands of a block and returns what the last one printed.
func (c *cutover) run(block string) (out string) {
	c.t.Helper()
	for line := range strings.Lines(block) {
		ctx, cancel := context.WithTimeout(c.t.Context(), 2*time.Minute)
		defer cancel()
		command := exec.CommandContext(ctx, "bash", "-c", "exec env "+line)
		command.Dir, command.Env = c.dir, c.env
		if strings.HasSuffix(strings.TrimSpace(line), "./worker run") {
			c.stopWorker()
			command = exec.CommandContext(context.WithoutCancel(ctx), "bash", "-c", "exec env "+line) // runs until it is stopped
			command.Dir, command.Env = c.dir, c.env
			command.Stderr = io.Discard
			if err := command.Start(); err != nil {
				c.t.Fatal(err)
			}
			c.worker = command
			continue
		}
		combined, err := command.CombinedOutput()
		if err != nil {
			c.t.Fatalf("%s: %v\n%s", line, err, combined)
		}
		out = string(combined)
	}
	return out
}

func (c *cutover) stopWorker() {
	if c.worker == nil {
		return
	}
	_ = c.worker.Process.Signal(syscall.SIGTERM)
	if err := c.worker.Wait(); err != nil {
		c.t.Errorf("a worker ended with %v", err)
	}
	c.worker = nil
}

// untouchedUsersQuery returns the users whose results are still the application's.
const untouchedUsersQuery = `
SELECT coalesce(string_agg(user_id::text, ' ' ORDER BY user_id), '') FROM (
	SELECT user_id FROM activities GROUP BY user_id HAVING bool_and(seven_day_avg_load = 1.23::real AND acute_chronic_ratio = 0.97::real)
) AS untouched`

// TestCutoverAsDocumented runs docs/cutover.md from top to bottom.
func TestCutoverAsDocumented(t *testing.T) {
	document, err := os.ReadFile("../../docs/cutover.md")
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for _, found := range shellBlock.FindAllSubmatch(document, -1) {
		blocks = append(blocks, string(found[1]))
	}
	if len(blocks) != 6 {
		t.Fatalf("docs/cutover.md has %d blocks of commands, want 6", len(blocks))
	}
	pool := openApplication(t, variants[0])
	execute(t, pool, `DO $$ BEGIN CREATE ROLE webapp; EXCEPTION WHEN duplicate_object THEN NULL; END $$`)
	untouched := text(t, pool, untouchedUsersQuery)
	c := newCutover(t, pool)

	c.run(blocks[0])
	content := text(t, pool, contentQuery, []string{})
	if out := c.run(blocks[1]); !strings.Contains(out, "4000 of 4000 rows differ") {
		t.Errorf("in shadow mode the comparison says:\n%s", out)
	}
	if text(t, pool, contentQuery, []string{}) != content {
		t.Error("shadow mode wrote to activities")
	}

	if out := c.run(blocks[2]); !strings.Contains(out, "rows differ") {
		t.Errorf("with a share of the users the comparison says:\n%s", out)
	}
	var others []string
	for user := int64(1); user <= 50; user++ {
		if !config.InRollout(user, 10) {
			others = append(others, fmt.Sprint(user))
		}
	}
	if got, want := text(t, pool, untouchedUsersQuery), strings.Join(others, " "); got != want || got == untouched {
		t.Errorf("users whose results were left alone: %s, want %s", got, want)
	}

	if out := c.run(blocks[3]); !strings.Contains(out, "no difference in 4000 rows") {
		t.Errorf("with all users the comparison says:\n%s", out)
	}
	if got := wrongRows(t, pool); got != "0 of 4000" {
		t.Errorf("%s rows are not what the application's rules give", got)
	}

	// Rolling back: the application's changes wait, and are worked later.
	c.run(blocks[4])
	execute(t, pool, `UPDATE activities SET total_load_miles = total_load_miles + 1 WHERE user_id = 7 AND date = '2025-07-03'`)
	time.Sleep(2 * time.Second) // long enough for a worker to work the recalculation
	if got := text(t, pool, `SELECT count(*)::text FROM river.river_job WHERE kind = 'acwr_recalc' AND state = 'available'`); got != "1" {
		t.Errorf("%s recalculations wait, want 1", got)
	}
	if out := c.run(blocks[5]); !strings.Contains(out, "no difference in 4000 rows") {
		t.Errorf("without rounding the comparison says:\n%s", out)
	}
	const unfinished = `SELECT count(*)::text FROM river.river_job WHERE state NOT IN ('completed')`
	for end := time.Now().Add(time.Minute); text(t, pool, unfinished) != "0" && time.Now().Before(end); {
		time.Sleep(50 * time.Millisecond) // the recalculation may finish after the backfill
	}
	c.stopWorker()
	if got := text(t, pool, unfinished); got != "0" {
		t.Errorf("%s jobs are left", got)
	}
}

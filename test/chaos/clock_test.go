//go:build chaos

package chaos

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/trainingmonkey/worker/test/commandtest"
	"github.com/trainingmonkey/worker/test/providertest"
)

// shiftSource gives package time a wall clock that is off by SHIFT_CLOCK seconds.
// Elapsed time stays correct.
const shiftSource = `package time

import "syscall"

var shiftedBy = func() (seconds int64) {
	text, _ := syscall.Getenv("SHIFT_CLOCK")
	sign := int64(1)
	for _, c := range []byte(text) {
		if c == '-' {
			sign = -1
		} else {
			seconds = 10*seconds + int64(c-'0')
		}
	}
	return sign * seconds
}()
`

// buildShifted builds the commands with the shifted clock.
func buildShifted(t *testing.T) commandtest.Commands {
	t.Helper()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	library := filepath.Join(strings.TrimSpace(string(root)), "src", "time")
	source, err := os.ReadFile(filepath.Join(library, "time.go"))
	if err != nil {
		t.Fatal(err)
	}
	const now = "	sec, nsec, mono := runtimeNow()\n"
	if strings.Count(string(source), now) == 0 {
		t.Fatal("this Go version's time.Now reads the clock differently")
	}
	dir := t.TempDir()
	write := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{
		filepath.Join(library, "time.go"):  write("time.go", []byte(strings.Replace(string(source), now, now+"	sec += shiftedBy\n", 1))),
		filepath.Join(library, "shift.go"): write("shift.go", []byte(shiftSource)),
	}})
	if err != nil {
		t.Fatal(err)
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-overlay", write("overlay.json", overlay), "-o", dir, "../../cmd/worker", "../../cmd/enqueue")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return commandtest.Commands(dir)
}

// TestShiftedClocks runs on a machine whose clock is an hour and a half ahead of the
// server's, or behind it: enqueued jobs are due at once, and a retry is neither early
// nor late.
func TestShiftedClocks(t *testing.T) {
	t.Parallel()
	shifted := buildShifted(t)
	for name, seconds := range map[string]string{"Ahead": "5400", "Behind": "-5400"} {
		t.Run(name, func(t *testing.T) {
			r := shared(t)
			r.more = []string{"SHIFT_CLOCK=" + seconds}
			r.exec(`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not yet'; END $$`)
			r.exec(`CREATE TRIGGER refuse BEFORE INSERT ON activities FOR EACH ROW WHEN (NEW.name = 'refused') EXECUTE FUNCTION refuse()`)
			checked, _ := r.run(shifted, "worker", "check")
			if !strings.Contains(checked, "WARN  clock: this machine's and the server's differ by 1h30m") {
				t.Errorf("worker check does not mention the clock:\n%s", checked)
			}
			r.start(shifted, "worker", slices.Concat(settings, r.more))
			file := filepath.Join(t.TempDir(), "activities.ndjson")
			if err := os.WriteFile(file, []byte(`{"activity_id": 1, "user_id": 7, "date": "2025-03-01", "total_load_miles": 5, "trimp": 50}`+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			if output, code := r.run(shifted, "enqueue", "ingest", "--wait", file); code != 0 {
				t.Fatalf("enqueue ingest --wait: exit code %d\n%s", code, output)
			}
			if rows := r.count(`SELECT count(*) FROM activities WHERE acute_chronic_ratio IS NOT NULL`); rows != 1 {
				t.Errorf("%d rows have a ratio, want 1", rows)
			}
			t.Logf("enqueued and done after %v", time.Since(began))
			r.exec(`SELECT river.enqueue_activity_ingest('[{"activity_id": 2, "user_id": 7, "date": "2025-03-02", "total_load_miles": 5, "trimp": 50, "name": "refused"}]')`)
			for deadline := time.Now().Add(10 * time.Second); r.count(`SELECT count(*) FROM river.river_job WHERE errors IS NOT NULL`) == 0; time.Sleep(20 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("the job was not refused")
				}
			}
			r.exec(`DROP TRIGGER refuse ON activities`)
			cured := time.Now()
			r.drained(25 * time.Second) // the second retry is 16 s after the first
			t.Logf("tried again %v after the cure", time.Since(cured))
			if rows := r.count(`SELECT count(*) FROM activities WHERE acute_chronic_ratio IS NOT NULL`); rows != 2 {
				t.Errorf("%d rows have a ratio, want 2", rows)
			}
			r.stopWorkers()
		})
	}
}

// TestTokensUnderShiftedClocks: on such a machine tokens are refreshed before they expire, a
// failed refresh is tried again in time, and what the provider says counts from now.
func TestTokensUnderShiftedClocks(t *testing.T) {
	t.Parallel()
	shifted := buildShifted(t)
	for name, seconds := range map[string]string{"Ahead": "5400", "Behind": "-5400"} {
		t.Run(name, func(t *testing.T) {
			r := newTokenRig(t)
			var failed atomic.Int32
			r.provider.SetFaults(func(int32) providertest.Fault {
				if failed.Add(1) <= 20 {
					return providertest.Down
				}
				return providertest.None
			})
			began := time.Now()
			r.start(shifted, "worker", slices.Concat(settings, r.more, []string{"SHIFT_CLOCK=" + seconds}))
			for deadline := began.Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
				left := r.count(`SELECT count(*) FROM user_tokens WHERE abs(expires_at - extract(epoch FROM now() + interval '6 hours')) > 600`)
				if left == 0 {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("%d of %d users have no fresh token after 30 s: %s", left, tokenUsers, r.whatIsUnfinished())
				}
			}
			t.Logf("all users have fresh tokens after %v", time.Since(began))
			if n := r.count(`SELECT count(*) FROM river.river_job WHERE errors IS NOT NULL`); n == 0 {
				t.Error("no job failed, so no retry is proven")
			}
			const wronglyDated = `
				SELECT count(*) FROM river.river_job, unnest(ARRAY[created_at, scheduled_at, attempted_at, finalized_at]) AS t
				WHERE abs(extract(epoch FROM t - now())) > 60`
			if n := r.count(wronglyDated); n > 0 {
				t.Errorf("%d times of jobs are by the machine's clock", n)
			}
			r.stopWorkers()
		})
	}
}

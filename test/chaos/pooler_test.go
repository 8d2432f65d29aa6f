//go:build chaos

package chaos

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/test/commandtest"
)

// poolerConfig has addresses for PgBouncer. The settings of docs/operations.md follow.
const poolerConfig = `[databases]
* = host=%s port=%s user=%s password=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
`

// documented returns the settings of docs/operations.md for PgBouncer in a mode.
func documented(t *testing.T, mode string) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), "```ini\n[pgbouncer]\n")
	settings, _, found := strings.Cut(after, "```")
	settings, modes := strings.ReplaceAll(settings, "pool_mode = session ; or transaction", "pool_mode = "+mode), strings.Count(settings, "pool_mode = session ; or transaction")
	if !found || modes != 1 {
		t.Fatalf("docs/operations.md has no settings for PgBouncer in both modes: %q", settings)
	}
	return settings
}

const withoutPrepared = "&default_query_exec_mode=cache_describe"

// TestPgBouncerInSessionMode kills and freezes workers that reach the server through
// PgBouncer, with prepared statements and without.
func TestPgBouncerInSessionMode(t *testing.T) {
	for name, parameter := range map[string]string{"Prepared": "", "Unprepared": withoutPrepared} {
		t.Run(name, func(t *testing.T) {
			r := shared(t)
			r.through = r.pooled("session") + parameter
			r.besideOtherClients(func() { r.checked(0, "by way of a pooler in session mode") })
			r.killsBehindPooler()
		})
	}
}

// TestPgBouncerInTransactionMode does the same where each transaction may get another
// session, with a PgBouncer version that does not support prepared statements.
func TestPgBouncerInTransactionMode(t *testing.T) {
	r := shared(t)
	r.through = r.pooled("transaction")
	r.besideOtherClients(func() {
		for range 5 {
			r.checked(1, "loses prepared statements", "default_query_exec_mode=cache_describe")
		}
	})
	r.through += withoutPrepared
	r.checked(1, "passes no notifications on", "river.poll_only: true")
	r.more = []string{"TMWORKER_RIVER_POLL_ONLY=true"}
	r.checked(0, "by way of a pooler in transaction mode")
	r.killsBehindPooler()
}

// TestPgBouncerInStatementMode: worker check refuses it.
func TestPgBouncerInStatementMode(t *testing.T) {
	t.Parallel()
	r := shared(t)
	r.through = r.pooled("statement")
	r.checked(1, "a pooler in statement mode", "pool_mode = session")
}

// checked runs `worker check` through the pooler.
func (r *rig) checked(code int, says ...string) {
	r.Helper()
	output, exit := r.run(commands, "worker", "check")
	for _, s := range says {
		if exit != code || !strings.Contains(output, s) {
			r.Errorf("worker check: exit code %d, want %d and %q:\n%s", exit, code, s, output)
		}
	}
}

// besideOtherClients runs fn while two other clients run short transactions through the
// pooler.
func (r *rig) besideOtherClients(fn func()) {
	r.Helper()
	ctx, stop := context.WithCancel(r.Context())
	var clients sync.WaitGroup
	for range 2 {
		conn, err := pgx.Connect(ctx, r.through)
		if err != nil {
			r.Fatal(err)
		}
		clients.Go(func() {
			defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
			for ctx.Err() == nil {
				_, _ = conn.PgConn().Exec(ctx, "SELECT pg_sleep(random() / 100)").ReadAll()
			}
		})
	}
	fn()
	stop()
	clients.Wait()
}

func (r *rig) killsBehindPooler() {
	r.Helper()
	for range 2 {
		r.startWorker()
	}
	r.begin(0)
	var frozen *commandtest.Process
	var held []int64
	var at time.Time
	r.fault(func() {
		var other *commandtest.Process
		frozen, other = r.holder()
		held, at = r.frozen(frozen) // before the other dies, because then jobs are left to who marked them
		time.Sleep(idleTimeout + releasedWithin)
		frozen.Signal(r.T, syscall.SIGCONT)
		other.Signal(r.T, syscall.SIGKILL)
		time.Sleep(time.Second)
		r.startWorker()
	})
	r.end()
	r.claimedElsewhere(frozen, held, at, idleTimeout+releasedWithin)
	r.recoveredWithin(15 * time.Second)
}

// holder returns the one of two workers that has claimed jobs: under a backlog the other waits.
func (r *rig) holder() (holder, other *commandtest.Process) {
	r.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		for i, w := range r.workers[:2] {
			if len(r.heldBy(w)) > 0 {
				return w, r.workers[1-i]
			}
		}
	}
	r.Fatal("no worker held a job")
	return nil, nil
}

// pooled starts PgBouncer in front of the server and returns the URL of the same
// database through it.
func (r *rig) pooled(mode string) string {
	r.Helper()
	u, err := url.Parse(r.url)
	if err != nil {
		r.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	_ = listener.Close()
	dir := enterable(r.T)
	file := filepath.Join(dir, "pgbouncer.ini")
	password, _ := u.User.Password()
	config := fmt.Sprintf(poolerConfig, u.Hostname(), u.Port(), u.User.Username(), password, port) + documented(r.T, mode)
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		r.Fatal(err)
	}
	cmd := exec.Command("pgbouncer", "--quiet", file)
	if os.Getuid() == 0 { // PgBouncer refuses to run as root
		const nobody = 65534
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	cmd.Stdout, cmd.Stderr = r.Output(), r.Output()
	if err := cmd.Start(); err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	address := fmt.Sprintf("127.0.0.1:%d", port)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
			break
		}
		if time.Now().After(deadline) {
			r.Fatalf("PgBouncer does not answer: %v", err)
		}
	}
	return fmt.Sprintf("postgres://%s@%s%s?sslmode=disable", u.User, address, u.Path)
}

// enterable returns a directory that servers running as another user can enter, unlike
// t.TempDir.
func enterable(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "server") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

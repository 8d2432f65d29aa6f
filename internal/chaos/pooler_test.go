//go:build chaos

package chaos

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// poolerConfig is what docs/operations.md says of PgBouncer, and where to find
// things.
const poolerConfig = `[databases]
* = host=%s port=%s user=%s password=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = %s
default_pool_size = 60
max_client_conn = 200
`

// TestPgBouncerInSessionMode kills a worker that reaches the server through
// PgBouncer.
func TestPgBouncerInSessionMode(t *testing.T) {
	r := shared(t)
	r.through = r.pooled("session", "")
	r.killsBehindPooler()
}

// TestPgBouncerInTransactionMode does so where each transaction may have another
// session, by a version of PgBouncer that knows no prepared statements.
func TestPgBouncerInTransactionMode(t *testing.T) {
	r := shared(t)
	r.through = r.pooled("transaction", "&default_query_exec_mode=cache_describe")
	r.killsBehindPooler("TMWORKER_RIVER_POLL_ONLY=true")
}

func (r *rig) killsBehindPooler(settings ...string) {
	r.Helper()
	for range 2 {
		r.startWorker(settings...)
	}
	r.begin(0)
	r.fault(func() {
		r.workers[0].Signal(r.T, syscall.SIGKILL)
		time.Sleep(time.Second)
		r.startWorker(settings...)
		frozen := r.workers[1]
		frozen.Signal(r.T, syscall.SIGSTOP)
		time.Sleep(idleTimeout + releasedWithin)
		frozen.Signal(r.T, syscall.SIGCONT)
	})
	r.end()
	r.recoveredWithin(15 * time.Second)
}

// pooled starts PgBouncer before the server and returns the URL of the same
// database through it.
func (r *rig) pooled(mode, parameters string) string {
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
	dir, err := os.MkdirTemp("", "pgbouncer") // r.TempDir is for this user alone
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = os.RemoveAll(dir) })
	file := filepath.Join(dir, "pgbouncer.ini")
	password, _ := u.User.Password()
	config := fmt.Sprintf(poolerConfig, u.Hostname(), u.Port(), u.User.Username(), password, port, mode)
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		r.Fatal(err)
	}
	cmd := exec.Command("pgbouncer", "--quiet", file)
	if os.Getuid() == 0 { // it does not run as root
		const nobody = 65534
		if err := os.Chmod(dir, 0o755); err != nil {
			r.Fatal(err)
		}
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
	return fmt.Sprintf("postgres://%s@%s%s?sslmode=disable%s", u.User, address, u.Path, parameters)
}

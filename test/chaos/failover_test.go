//go:build chaos

package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/internal/localpg"
	"github.com/trainingmonkey/worker/migrations"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// pair is a primary and its synchronous standby: a confirmed COMMIT is on both.
type pair struct {
	*rig
	primary, standby *localpg.Server
	primaryDir       string
	startStandby     func()
}

// standbyName is the standby that the primary waits for.
const standbyName = "standby"

// newPair copies a stopped cluster, which is all that a standby needs to start.
func newPair(t *testing.T) *pair {
	t.Helper()
	dir := enterable(t)
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	first, err := localpg.Start(t.Context(), localpg.Options{Dir: one})
	if err != nil {
		t.Fatal(err)
	}
	pool := dbtest.Open(t, first.URL(""))
	if _, err := migrations.Up(t.Context(), pool.Pool, dbtest.RiverSchema); err != nil {
		t.Fatal(err)
	}
	pool.Close()
	if err := first.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cp", "-a", one, two).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v\n%s", err, out)
	}
	if err := os.WriteFile(filepath.Join(two, "data", "standby.signal"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	p := &pair{primaryDir: one}
	p.primary = startAgain(t, one, map[string]string{"synchronous_standby_names": standbyName})
	u, err := url.Parse(p.primary.URL(""))
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	p.rig = &rig{T: t, url: p.primary.URL(""), through: p.primary.URL("")}
	p.startStandby = func() {
		p.standby = startAgain(t, two, map[string]string{
			"primary_conninfo": fmt.Sprintf("host=%s port=%s user=%s password=%s application_name=%s", u.Hostname(), u.Port(), u.User.Username(), password, standbyName),
		})
		p.synchronous()
	}
	p.startStandby()
	return p
}

// startAgain starts a server on an existing directory. It may have ended before the
// test does.
func startAgain(t *testing.T, dir string, settings map[string]string) *localpg.Server {
	t.Helper()
	s, err := localpg.Start(t.Context(), localpg.Options{Dir: dir, Settings: settings})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Second)
		defer cancel()
		_ = s.Stop(ctx)
		if t.Failed() {
			t.Logf("log of %s ends:\n%s", dir, s.LogTail())
		}
	})
	return s
}

// synchronous waits until commits wait for the standby.
func (p *pair) synchronous() {
	p.Helper()
	p.eventually("the standby is synchronous", func(ctx context.Context) (yes bool, err error) {
		conn, err := pgx.Connect(ctx, p.primary.URL(""))
		if err != nil {
			return false, err
		}
		defer func() { _ = conn.Close(ctx) }()
		err = conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_stat_replication WHERE application_name = $1 AND sync_state = 'sync')`, standbyName).Scan(&yes)
		return yes, err
	})
}

// promote makes the standby the primary and returns once it accepts writes.
func (p *pair) promote() {
	p.Helper()
	p.eventually("the standby is promoted", func(ctx context.Context) (promoted bool, err error) {
		conn, err := pgx.Connect(ctx, p.standby.URL(""))
		if err != nil {
			return false, err
		}
		defer func() { _ = conn.Close(ctx) }()
		err = conn.QueryRow(ctx, `SELECT pg_promote()`).Scan(&promoted)
		return promoted, err
	})
}

func (p *pair) eventually(what string, holds func(context.Context) (bool, error)) {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.Context(), 30*time.Second)
	defer cancel()
	for {
		yes, err := holds(ctx)
		if err == nil && yes {
			return
		}
		if ctx.Err() != nil {
			p.Fatalf("%s: not in time: %v", what, errors.Join(err, ctx.Err()))
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// both returns an address with both servers, of which one accepts writes.
func (p *pair) both() string {
	p.Helper()
	one, err := url.Parse(p.primary.URL(""))
	if err != nil {
		p.Fatal(err)
	}
	two, err := url.Parse(p.standby.URL(""))
	if err != nil {
		p.Fatal(err)
	}
	one.Host += "," + two.Host
	return one.String()
}

// signalPrimary signals every process of the primary, as if its machine stopped.
func (p *pair) signalPrimary(s syscall.Signal) {
	p.Helper()
	content, err := os.ReadFile(filepath.Join(p.primaryDir, "data", "postmaster.pid"))
	if err != nil {
		p.Fatal(err)
	}
	first, _, _ := strings.Cut(string(content), "\n")
	postmaster, err := strconv.Atoi(first)
	if err != nil {
		p.Fatal(err)
	}
	children, err := exec.Command("pgrep", "-P", first).Output()
	if err != nil {
		p.Fatal(err)
	}
	_ = syscall.Kill(postmaster, s)
	for _, child := range strings.Fields(string(children)) {
		if pid, err := strconv.Atoi(child); err == nil {
			_ = syscall.Kill(pid, s)
		}
	}
}

// TestFailoverByAddress: the address names both servers; the primary is killed and the
// standby promoted.
func TestFailoverByAddress(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.url, p.through = p.both(), p.both()
	p.begin(2)
	p.fault(func() {
		p.signalPrimary(syscall.SIGKILL)
		time.Sleep(time.Second)
		p.promote()
	})
	p.end()
	p.recoveredWithin(10 * time.Second)
}

// TestFailoverByProxy: workers know one address, which then leads to the new primary,
// while connections to the stopped machine of the old one stay open and silent.
func TestFailoverByProxy(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	repoint := p.forward()
	p.begin(2)
	p.fault(func() {
		p.signalPrimary(syscall.SIGSTOP)
		p.Cleanup(func() { p.signalPrimary(syscall.SIGKILL) })
		time.Sleep(time.Second)
		p.promote()
		repoint(p.standby)
	})
	// A worker that is asked to stop waits for silent connections up to its
	// statement_timeout plus five seconds, which is as long as its grace.
	time.Sleep(grace)
	p.end()
	p.recoveredWithin(10 * time.Second)
}

// forward makes everyone reach the primary at an address that can be repointed to
// another server. Existing connections stay as they are.
func (p *pair) forward() (repoint func(*localpg.Server)) {
	p.Helper()
	var target atomic.Pointer[string]
	repoint = func(s *localpg.Server) {
		u, err := url.Parse(s.URL(""))
		if err != nil {
			p.Fatal(err)
		}
		target.Store(&u.Host)
	}
	repoint(p.primary)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go relay(client, *target.Load())
		}
	}()
	p.throughAddress(listener.Addr().String())
	p.url = p.through
	return repoint
}

func relay(client net.Conn, address string) {
	defer func() { _ = client.Close() }()
	server, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	go func() {
		defer func() { _ = server.Close() }()
		_, _ = io.Copy(server, client)
	}()
	_, _ = io.Copy(client, server)
}

// standbyGone is how long the standby is away. Until then every transaction of the workers
// has waited for it, been given up, and been tried again, many times.
const standbyGone = 3 * time.Minute

// TestStandbyGone: commits wait for a standby that is down. A transaction that the worker
// gives up is committed on the primary nevertheless, and is neither lost nor done twice.
func TestStandbyGone(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.begin(2)
	p.fault(func() {
		if err := p.standby.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(standbyGone)
		p.startStandby()
	})
	p.end()
	p.recoveredWithin(15 * time.Second)
}

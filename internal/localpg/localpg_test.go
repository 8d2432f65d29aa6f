package localpg

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// childMode makes the test binary a program that starts a server and waits to be killed.
const childMode = "LOCALPG_TEST_CHILD_DIR"

func TestMain(m *testing.M) {
	if dir, ok := os.LookupEnv(childMode); ok {
		dieOfHangup()
		s, err := Start(context.Background(), Options{Dir: dir})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(postmaster(s), s.dir.path, s.URL(""))
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n') // until killed
		return
	}
	os.Exit(m.Run())
}

// dieOfHangup makes SIGHUP end the process even if it inherited that the signal is
// ignored, as under nohup.
func dieOfHangup() {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	go func() {
		<-hangup
		os.Exit(1)
	}()
}

func TestServerAnswersAndGoes(t *testing.T) {
	t.Parallel()
	s := startServer(t, Options{})
	if got := ask(t, s.URL(""), "SELECT current_user || current_setting('server_encoding') || current_setting('fsync')"); got != "trainingmonkeyUTF8on" {
		t.Errorf("user, encoding, fsync = %s, want trainingmonkeyUTF8on", got)
	}
	if got := ask(t, s.URL("template1"), "SELECT current_database()"); got != "template1" {
		t.Errorf("URL(template1) leads to %s", got)
	}
	info, err := os.Stat(filepath.Join(s.dir.data(), "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	want := uint32(os.Geteuid())
	if s.dir.owner.credential != nil {
		want = s.dir.owner.credential.Uid
	}
	if uid := info.Sys().(*syscall.Stat_t).Uid; uid != want || uid == 0 {
		t.Errorf("server runs as uid %d, want %d and never 0", uid, want)
	}

	pid := postmaster(s)
	for range 2 {
		if err := s.Stop(t.Context()); err != nil {
			t.Fatalf("Stop() = %v", err)
		}
	}
	if alive(pid) {
		t.Errorf("server %d still runs after Stop", pid)
	}
	gone(t, s.dir.path)
	if tail := s.LogTail(); !strings.Contains(tail, "database system is shut down") {
		t.Errorf("LogTail() = %q, want the shutdown", tail)
	}
	if err := s.Restart(t.Context(), false); err == nil {
		t.Error("Restart() after Stop succeeded")
	}
}

func TestPasswordIsNeeded(t *testing.T) {
	t.Parallel()
	s := startServer(t, Options{})
	u, err := url.Parse(s.URL(""))
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(superuser, "guess")
	urls := []string{u.String()}
	if run := s.dir.sockets(); run != "" && s.dir.owner.credential == nil {
		urls = append(urls, fmt.Sprintf("postgres://%s:guess@/postgres?host=%s&port=%d", superuser, run, s.port))
	}
	for _, wrong := range urls {
		conn, err := pgx.Connect(t.Context(), wrong)
		if err == nil {
			_ = conn.Close(t.Context())
		}
		var pgErr *pgconn.PgError
		if !errors.As(err, &pgErr) || pgErr.Code != "28P01" {
			t.Errorf("Connect(%s) = %v, want a wrong password", wrong, err)
		}
	}
}

func TestTwoAtOnce(t *testing.T) {
	t.Parallel()
	skipInShort(t)
	type result struct {
		s   *Server
		err error
	}
	results := make(chan result)
	for range 2 {
		go func() {
			s, err := Start(t.Context(), Options{})
			results <- result{s, err}
		}()
	}
	a, b := <-results, <-results
	for _, r := range []result{a, b} {
		if r.err != nil {
			t.Fatal(r.err)
		}
		t.Cleanup(func() { stop(t, r.s) })
	}
	if a.s.port == b.s.port || a.s.dir.path == b.s.dir.path || a.s.password == b.s.password {
		t.Errorf("servers share something: %s %s, %s %s", a.s.URL(""), a.s.dir.path, b.s.URL(""), b.s.dir.path)
	}
	stop(t, a.s)
	if got := ask(t, b.s.URL(""), "SELECT 'here'"); got != "here" {
		t.Errorf("second server answers %s after the first stopped", got)
	}
}

func TestBootTakesAnotherPort(t *testing.T) {
	t.Parallel()
	dir := clusterDir(t)
	first := startServer(t, Options{Dir: dir})
	stop(t, first)

	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", fmt.Sprintf("%s:%d", loopback, first.port))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	s := startServer(t, Options{Dir: dir})
	if s.port == first.port {
		t.Errorf("port = %d, which is taken", s.port)
	}

	// loser is in the state of a Start that lost the race for its port.
	loser := &Server{dir: s.dir, bin: s.bin, password: s.password, port: first.port}
	stopKeepingDirectory(t, s)
	if err := loser.run(t.Context()); !errors.Is(err, errPortTaken) {
		t.Errorf("run() on a taken port = %v, want errPortTaken", err)
	}
}

func TestBrokenSettingShowsLog(t *testing.T) {
	t.Parallel()
	skipInShort(t)
	began := time.Now()
	parent := reachable(t)
	_, err := Start(t.Context(), Options{Dir: filepath.Join(parent, "pg"), Settings: map[string]string{"shared_buffers": "plenty"}})
	if err == nil || !strings.Contains(err.Error(), `invalid value for parameter "shared_buffers": "plenty"`) {
		t.Errorf("Start() = %v, want PostgreSQL's complaint", err)
	}
	if took := time.Since(began); took > startTimeout/2 {
		t.Errorf("Start() took %s to notice that the server had ended", took)
	}
}

func TestCancelledStartLeavesNothing(t *testing.T) {
	t.Parallel()
	skipInShort(t)
	for _, after := range []time.Duration{0, 50 * time.Millisecond, 300 * time.Millisecond} {
		ctx, cancel := context.WithTimeout(t.Context(), after)
		dir := filepath.Join(reachable(t), "pg")
		s, err := Start(ctx, Options{Dir: dir})
		cancel()
		if err == nil {
			stop(t, s)
			continue
		}
		if pid := firstNumber(filepath.Join(dir, "data", "postmaster.pid")); alive(pid) {
			t.Errorf("server %d still runs after a Start cancelled after %s", pid, after)
		}
		// The lock is released, so a second try succeeds.
		stop(t, startServer(t, Options{Dir: dir}))
	}
}

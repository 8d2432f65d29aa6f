package dbtest

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/trainingmonkey/worker/internal/localpg"
)

// cleanupTimeout bounds clean-up after a test has ended.
const cleanupTimeout = time.Minute

// Main runs the tests of a package and releases what they share:
//
//	func TestMain(m *testing.M) { dbtest.Main(m) }
//
// Without it a private server would still end with the process, but on a server that
// DATABASE_URL names the templates of NewFrom would stay.
func Main(m *testing.M) { os.Exit(Run(m)) }

// Run is Main for a TestMain with its own clean-up: it returns the exit code.
func Run(m *testing.M) int {
	code := m.Run()
	if err := release(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	return code
}

// New returns the URL of a new, empty database, which is dropped at the end of the
// test, with any connection to it.
func New(t testing.TB) string {
	t.Helper()
	h := sharedHost(t)
	url, err := h.create(t.Context(), emptyTemplate)
	return h.lend(t, url, err)
}

// NewFrom is New with a copy of a template database instead of an empty one. prepare
// fills the template once per process and key, and must have closed its connections
// when it returns.
func NewFrom(t testing.TB, key string, prepare func(ctx context.Context, url string) error) string {
	t.Helper()
	h := sharedHost(t)
	url, err := h.clone(t.Context(), key, prepare)
	return h.lend(t, url, err)
}

// Server returns the test's own server, which it may restart or crash. It has
// PostgreSQL's durable settings and is stopped at the end of the test; if that fails,
// the end of the server's log is shown. DATABASE_URL is ignored.
func Server(t testing.TB) *localpg.Server {
	t.Helper()
	return ServerWith(t, nil)
}

// ServerWith is Server with settings of PostgreSQL.
func ServerWith(t testing.TB, settings map[string]string) *localpg.Server {
	t.Helper()
	skipInShort(t)
	s, err := localpg.Start(t.Context(), localpg.Options{Settings: settings})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), cleanupTimeout)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("server log ends:\n%s", s.LogTail())
		}
	})
	return s
}

// skipInShort skips a test under go test -short, which runs what needs no server.
func skipInShort(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short skips tests that need PostgreSQL")
	}
}

// lend gives a created database to a test until it ends.
func (h *host) lend(t testing.TB, url string, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), cleanupTimeout)
		defer cancel()
		if err := h.drop(ctx, url); err != nil {
			t.Error(err)
		}
	})
	return url
}

// shared is the server of this process's tests, opened on first use.
var shared struct {
	once sync.Once
	host *host
	err  error
}

func sharedHost(t testing.TB) *host {
	t.Helper()
	skipInShort(t)
	shared.once.Do(func() {
		// Not the first test's context: the server outlives that test.
		shared.host, shared.err = openHost(context.WithoutCancel(t.Context()), os.Getenv("DATABASE_URL"))
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.host
}

func release() error {
	if shared.host == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), cleanupTimeout)
	defer cancel()
	return shared.host.close(ctx)
}

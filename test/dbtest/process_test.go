package dbtest

import (
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// TestOnNamedServer runs the tests of New and NewFrom on a server that DATABASE_URL
// names, as a role with only CREATEDB, twice at once. They must leave nothing there.
func TestOnNamedServer(t *testing.T) {
	t.Parallel()
	s := Server(t)
	run(t, s.URL(""), "CREATE ROLE maker LOGIN CREATEDB PASSWORD 'maker'")
	u, err := url.Parse(s.URL(""))
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("maker", "maker")
	failed := make(chan error)
	for range 2 {
		go func() {
			_, err := testProcess(t, "^TestNew", "DATABASE_URL="+u.String())
			failed <- err
		}()
	}
	for range 2 {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
	if got := ask(t, s.URL(""), "SELECT coalesce(string_agg(datname, ' '), '') FROM pg_database WHERE datname LIKE 'test%'"); got != "" {
		t.Errorf("databases left: %s", got)
	}
}

// TestPrintURL is run by TestProcessWithoutMain.
func TestPrintURL(t *testing.T) {
	t.Parallel()
	db := New(t)
	fmt.Println("url:", db)
	if got := ask(t, db, "SELECT current_database()"); !strings.HasPrefix(got, "test_") {
		t.Errorf("current_database() = %s, want test_...", got)
	}
}

func TestProcessWithoutMain(t *testing.T) {
	t.Parallel()
	out, err := testProcess(t, "^TestPrintURL$", "DATABASE_URL=", noRelease+"=1")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(out, "url: ")
	db, _, _ := strings.Cut(rest, "\n")
	if !found {
		t.Fatalf("no URL in %s", out)
	}
	deadline := time.Now().Add(15 * time.Second)
	for {
		_, err := pgx.Connect(t.Context(), db)
		if err != nil && strings.Contains(err.Error(), "connection refused") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the server outlives its process: Connect() = %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// testProcess runs some tests of this binary in another process.
func testProcess(t *testing.T, tests string, env ...string) (string, error) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(t.Context(), program, "-test.v", "-test.run="+tests)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("tests %s: %w\n%s", tests, err, out)
	}
	return string(out), err
}

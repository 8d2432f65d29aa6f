//go:build browser

package python

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// startExample starts examples/flask on the database and returns its address.
func startExample(t *testing.T, pool *dbpool.Pool) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	file, err := filepath.Abs("../../examples/flask/app.py")
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), interpreter(t), file)
	command.Dir = t.TempDir()
	command.Env = append(os.Environ(), "DATABASE_URL="+pool.Config().ConnString(), "PORT="+port, "PYTHONDONTWRITEBYTECODE=1")
	command.Stdout, command.Stderr = t.Output(), t.Output()
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = command.Wait() })
	address := "http://127.0.0.1:" + port
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(request)
		if err == nil {
			_ = answer.Body.Close()
			if answer.StatusCode != http.StatusOK {
				t.Fatalf("%s: %s", address, answer.Status)
			}
			return address
		}
		if time.Now().After(deadline) {
			t.Fatalf("the example does not listen: %v", err)
		}
	}
}

// TestExampleInABrowser presses the button while no worker runs, checks that the page
// does not claim that the job is done, and then sees its outcome once a worker runs.
func TestExampleInABrowser(t *testing.T) {
	pool := dbtest.Migrated(t)
	address := startExample(t, pool)
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir()))
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	defer cancel()
	ctx, cancel = chromedp.NewContext(ctx)
	defer cancel()
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start Chromium: %v; install it, as with: apt-get install chromium", err)
	}
	ctx, cancel = context.WithTimeout(ctx, time.Minute)
	defer cancel()

	if err := chromedp.Do(ctx, chromedp.Navigate(address), chromedp.WaitVisible(chromedp.CSS("#sync"))); err != nil {
		t.Fatal(err)
	}
	want(t, elementText(t, ctx, "ratio"), "–", "the ratio before anything")
	press(t, ctx)
	waitFor(t, ctx, "outcome", "0 of 12 parts are done.")
	work(t, pool)
	waitFor(t, ctx, "outcome", "Done: 299 stored, 0 unchanged, 1 not stored.")
	want(t, elementText(t, ctx, "rejects"), "Morning run 212: This activity was not stored, because its average heart rate cannot be that low or that high.", "what its athlete sees")
	var ratio string
	if err := pool.QueryRow(t.Context(), `SELECT round(acute_chronic_ratio::numeric, 2)::text FROM activities ORDER BY date DESC LIMIT 1`).Scan(&ratio); err != nil {
		t.Fatal(err)
	}
	want(t, elementText(t, ctx, "ratio"), ratio, "the new ratio")
	press(t, ctx)
	waitFor(t, ctx, "outcome", "Done: 0 stored, 299 unchanged, 1 not stored.")
}

func press(t *testing.T, ctx context.Context) {
	t.Helper()
	if err := chromedp.Do(ctx, chromedp.Click(chromedp.CSS("#sync")), chromedp.WaitVisible(chromedp.CSS("#sync-status"))); err != nil {
		t.Fatal(err)
	}
}

func elementText(t *testing.T, ctx context.Context, id string) string {
	t.Helper()
	s, err := chromedp.Run(ctx, chromedp.Evaluate[string](fmt.Sprintf("document.getElementById(%q)?.innerText ?? ''", id)))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(s)
}

// waitFor polls until an element has a text.
func waitFor(t *testing.T, ctx context.Context, id, text string) {
	t.Helper()
	for got := ""; ; time.Sleep(50 * time.Millisecond) {
		if got = elementText(t, ctx, id); got == text {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("#%s says %q, want %q", id, got, text)
		}
	}
}

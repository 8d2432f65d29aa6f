package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/trainingmonkey/worker/migrations"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// TestWatchReportsAnAbsentServerOnce: however often it retries, and in few words.
func TestWatchReportsAnAbsentServerOnce(t *testing.T) {
	server := dbtest.Server(t)
	url := server.URL("postgres")
	if _, err := migrations.Up(t.Context(), dbtest.Open(t, url).Pool, "river"); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DATABASE_URL", url)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	stopped := false
	stdout := writerFunc(func(p []byte) (int, error) {
		if !stopped {
			stopped = true
			if err := server.Stop(ctx); err != nil {
				t.Error(err)
			}
			time.AfterFunc(4*time.Second, interrupt) // about seven tries
		}
		return len(p), nil
	})
	var stderr strings.Builder
	if err := run(ctx, []string{"status", "--watch", "--interval", "500ms"}, strings.NewReader(""), stdout, &stderr); err != nil {
		t.Error(err)
	}
	said := stderr.String()
	if n := strings.Count(said, "no answer: connection refused; the last one is from "); n != 1 || strings.Contains(said, "failed to connect") {
		t.Errorf("printed %d times that the connection is refused, want once, in these words:\n%s", n, said)
	}
}

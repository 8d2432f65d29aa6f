package main

import (
	"context"
	"net"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/trainingmonkey/worker/test/dbtest"
)

// TestSystemdIsNotified acts as the service manager: it is notified that the worker is
// ready, then that it is alive, and when it stops.
func TestSystemdIsNotified(t *testing.T) {
	for _, listen := range []string{"127.0.0.1:0", ""} {
		socket := filepath.Join(t.TempDir(), "notify")
		manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = manager.Close() }()
		t.Setenv("NOTIFY_SOCKET", socket)
		t.Setenv("WATCHDOG_USEC", "300000")
		t.Setenv("TMWORKER_OPERATIONS_LISTEN", listen)
		t.Setenv("DATABASE_URL", dbtest.MigratedURL(t))
		ctx, terminate := context.WithCancel(t.Context())
		defer terminate()
		ended := make(chan error, 1)
		go func() { ended <- run(ctx, []string{"run"}, t.Output(), t.Output()) }()

		var heard []string
		for !slices.Contains(heard, "STOPPING=1") {
			message := make([]byte, 100)
			if err := manager.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
				t.Fatal(err)
			}
			n, err := manager.Read(message)
			if err != nil {
				t.Fatalf("after %v: %v", heard, err)
			}
			heard = append(heard, string(message[:n]))
			if slices.Contains(heard, "READY=1") && slices.Contains(heard, "WATCHDOG=1") {
				terminate()
			}
		}
		if slices.Index(heard, "READY=1") > slices.Index(heard, "STOPPING=1") {
			t.Errorf("heard %v", heard)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

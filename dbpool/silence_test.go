package dbpool

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"
)

// silentPeer returns a watchful connection and its other end.
func silentPeer(t *testing.T, maxSilence time.Duration) (conn *watchfulConn, peer net.Conn) {
	t.Helper()
	near, far := net.Pipe()
	t.Cleanup(func() {
		_ = near.Close()
		_ = far.Close()
	})
	return &watchfulConn{Conn: near, maxSilence: maxSilence}, far
}

func TestSilentServerIsGivenUp(t *testing.T) {
	t.Parallel()
	conn, peer := silentPeer(t, 50*time.Millisecond)
	go func() { _, _ = peer.Read(make([]byte, 8)) }()
	if _, err := conn.Write([]byte("SELECT 1")); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 8)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Read of an answer that does not come = %v, want a timeout", err)
	}
}

func TestReadThatNothingWasAskedForWaits(t *testing.T) {
	t.Parallel()
	conn, peer := silentPeer(t, 20*time.Millisecond)
	go func() {
		_, _ = peer.Read(make([]byte, 8))
		_, _ = peer.Write([]byte("answer"))
		time.Sleep(200 * time.Millisecond)
		_, _ = peer.Write([]byte("notification"))
	}()
	if _, err := conn.Write([]byte("LISTEN x")); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 16)
	for _, want := range []string{"answer", "notification"} {
		n, err := conn.Read(buffer)
		if err != nil || string(buffer[:n]) != want {
			t.Fatalf("Read = %q, %v, want %q", buffer[:n], err, want)
		}
	}
}

func TestCallersDeadlineWins(t *testing.T) {
	t.Parallel()
	conn, peer := silentPeer(t, time.Hour)
	go func() { _, _ = peer.Read(make([]byte, 8)) }()
	if _, err := conn.Write([]byte("SELECT 1")); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(30 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 8)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Read = %v, want the caller's timeout", err)
	}
}

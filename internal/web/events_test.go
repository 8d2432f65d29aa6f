package web_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/trainingmonkey/worker/internal/web"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// stream is an open /events.
type stream struct {
	status int
	events chan pageEvent // closed when the stream ends
	close  func()
}

type pageEvent struct{ At, HTML string }

// follow opens /events of a server.
func follow(t *testing.T, base string) stream {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request) //nolint:bodyclose // closed by its reader
	if err != nil {
		t.Fatal(err)
	}
	s := stream{status: response.StatusCode, events: make(chan pageEvent, 100), close: cancel}
	go func() {
		defer close(s.events)
		defer func() { _ = response.Body.Close() }()
		for lines := bufio.NewReader(response.Body); ; {
			line, err := lines.ReadString('\n')
			if err != nil {
				return
			}
			var e pageEvent
			if data, ok := strings.CutPrefix(line, "data: "); ok && json.Unmarshal([]byte(data), &e) == nil {
				s.events <- e
			}
		}
	}()
	return s
}

// next waits for an event, and returns false if the stream ends first.
func (s stream) next(t *testing.T, within time.Duration) (pageEvent, bool) {
	t.Helper()
	select {
	case e, ok := <-s.events:
		return e, ok
	case <-time.After(within):
		t.Fatalf("neither an event nor the end within %v", within)
		return pageEvent{}, false
	}
}

// TestEventsHaveWhatChanged: the page if a snapshot changed it, otherwise only the time.
func TestEventsHaveWhatChanged(t *testing.T) {
	t.Parallel()
	r := newRig(t, dbtest.MigratedURL(t))
	r.takeSnapshot()
	s := follow(t, r.serve())
	first, _ := s.next(t, time.Second)
	if s.status != http.StatusOK || first.HTML == "" || !strings.Contains(first.HTML, "<h1") || strings.Contains(first.HTML, "<html") {
		t.Fatalf("the first event of %d has %q, want the parts of the page", s.status, first.HTML)
	}
	r.exec(`INSERT INTO ingest_rejects (job_id, payload, reason) VALUES (1, '{}', E'one\rdata: forged\nevent: forged')`)
	r.takeSnapshot()
	if e, _ := s.next(t, 2*time.Second); !strings.Contains(e.HTML, "1 activity was rejected within a day") {
		t.Errorf("the next event has %q, want the reject", e.HTML)
	}
	for range 3 { // readiness does not run, and its age grows each time
		if e, ok := s.next(t, 8*time.Second); !ok || e.At == "" {
			t.Fatalf("event %+v, open: %v, want an event without a snapshot", e, ok)
		}
	}
}

// TestEventsKeepNoConnection: with the maximum of streams open, connections are free
// and pages are served; a stream that ends makes room for another.
func TestEventsKeepNoConnection(t *testing.T) {
	t.Parallel()
	r := newRig(t, dbtest.MigratedURL(t))
	r.takeSnapshot()
	base := r.serve()
	var open []stream
	for range 16 {
		s := follow(t, base)
		if _, ok := s.next(t, 2*time.Second); !ok {
			t.Fatalf("stream %d = %d", len(open)+1, s.status)
		}
		open = append(open, s)
	}
	if s := follow(t, base); s.status != http.StatusServiceUnavailable {
		t.Errorf("one stream too many = %d, want 503", s.status)
	}
	if n := r.pool.Stat().AcquiredConns(); n != 0 {
		t.Errorf("streams keep %d connections", n)
	}
	for _, path := range []string{"/", "/athlete?user=7", "/river/api/queues"} {
		if got := request(t, http.MethodGet, base+path, ""); got.status != http.StatusOK {
			t.Errorf("%s beside the streams = %d", path, got.status)
		}
	}
	r.takeSnapshot()
	open[0].close()
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		s := follow(t, base)
		if s.status == http.StatusOK {
			break
		}
		if time.Since(began) > 5*time.Second {
			t.Fatal("a stream that ended made no room")
		}
	}
}

// TestEventsEndWithTheServer: all of them, at once.
func TestEventsEndWithTheServer(t *testing.T) {
	t.Parallel()
	r := newRig(t, dbtest.MigratedURL(t))
	r.takeSnapshot()
	server, err := web.Listen(t.Context(), r.options)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve() }()
	var open []stream
	for range 8 {
		open = append(open, follow(t, "http://"+server.Address()))
	}
	for _, s := range open {
		s.next(t, 2*time.Second)
	}
	began := time.Now()
	server.Shutdown(t.Context())
	if took := time.Since(began); took > 150*time.Millisecond {
		t.Errorf("open streams delay the stop by %v", took)
	}
	for _, s := range open {
		if _, ok := s.next(t, time.Second); ok {
			t.Error("a stream is open after the stop")
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestEventsOutliveTheTimeouts: the timeouts of requests do not end a stream.
func TestEventsOutliveTheTimeouts(t *testing.T) {
	t.Parallel()
	r := newRig(t, dbtest.MigratedURL(t))
	r.takeSnapshot()
	handler, err := web.Handler(r.options)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(handler)
	server.Config.ReadTimeout, server.Config.WriteTimeout = 200*time.Millisecond, 200*time.Millisecond
	server.Start()
	t.Cleanup(server.Close)
	s := follow(t, server.URL)
	t.Cleanup(s.close)
	s.next(t, 2*time.Second)
	for i := range 8 {
		time.Sleep(100 * time.Millisecond)
		r.takeSnapshot()
		if e, ok := s.next(t, 2*time.Second); !ok || e.At == "" {
			t.Fatalf("the stream ended at event %d", i+2)
		}
	}
}

// TestEventsNobodyReads: a stream whose browser reads nothing is closed, and its place
// is free.
func TestEventsNobodyReads(t *testing.T) {
	t.Parallel()
	r := newRig(t, dbtest.MigratedURL(t))
	r.fill()
	handler, err := web.Handler(r.options)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(handler)
	server.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		_ = c.(*net.TCPConn).SetWriteBuffer(4 << 10) // an event fills it
		return ctx
	}
	server.Start()
	t.Cleanup(server.Close)
	for range 20 {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", hostName(t, server.URL))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		_ = conn.(*net.TCPConn).SetReadBuffer(4 << 10)
		if _, err := fmt.Fprint(conn, "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	full := false
	for began, i := time.Now(), 0; ; i++ {
		r.exec(`UPDATE ingest_rejects SET reason = md5($1::int::text) || repeat(' reason', 30)`, i) // causes another event
		r.takeSnapshot()
		time.Sleep(100 * time.Millisecond)
		s := follow(t, server.URL)
		s.close()
		full = full || s.status == http.StatusServiceUnavailable
		if full && s.status == http.StatusOK {
			return
		}
		if time.Since(began) > time.Minute {
			t.Fatalf("after %v no stream is free; all were taken: %v", time.Since(began), full)
		}
	}
}

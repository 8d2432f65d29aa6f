package web

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"
)

const (
	// maxStreams is the max number of streams. A browser has one for each page that
	// is in view.
	maxStreams = 16
	// streamEvery is how often a page is updated without a new snapshot, because the
	// process's own state and displayed ages change.
	streamEvery = 5 * time.Second
	// streamWrite bounds a write to a browser.
	streamWrite = 5 * time.Second
)

// streams keeps open pages up to date, with events that contain the page's content.
//
// Rule: a stream is open while the page is in view. It sends what is in memory,
// without querying the database or occupying the throttle.
type streams struct {
	render func() ([]byte, error)
	next   func() <-chan struct{} // returns a channel that is closed by the next snapshot
	logger *slog.Logger

	places  chan struct{}
	ended   chan struct{} // closed when the server stops
	endOnce sync.Once
}

// end ends all streams, so that none delays the server's stop.
func (s *streams) end() { s.endOnce.Do(func() { close(s.ended) }) }

// ServeHTTP sends events until the browser goes away or the server stops.
func (s *streams) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		http.Error(w, "events are had with GET", http.StatusMethodNotAllowed)
		return
	}
	select {
	case s.places <- struct{}{}:
		defer func() { <-s.places }()
	default:
		w.Header().Set("Retry-After", "10")
		http.Error(w, strconv.Itoa(maxStreams)+" pages are kept up to date already, try again later", http.StatusServiceUnavailable)
		return
	}
	connection := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // for nginx
	ticker := time.NewTicker(streamEvery)
	defer ticker.Stop()
	for sent := []byte(nil); ; {
		next := s.next() // before rendering, so that no snapshot is missed
		body, err := s.render()
		if err != nil {
			s.logger.ErrorContext(r.Context(), "page not rendered", slog.String("error", err.Error()))
			return
		}
		if err := send(w, connection, body, sent); err != nil {
			s.logger.DebugContext(r.Context(), "event not sent", slog.String("error", err.Error()))
			return
		}
		sent = body
		select {
		case <-next:
		case <-ticker.C:
		case <-s.ended:
			return
		case <-r.Context().Done():
			return
		}
	}
}

// event is the data of an event. It is JSON, so that it fits on one line.
type event struct {
	At   string `json:"at"`
	HTML string `json:"html,omitempty"` // the page's content; empty if unchanged
}

// send writes an event with the page's content if it changed, otherwise with the time
// only, as a heartbeat.
func send(w http.ResponseWriter, connection *http.ResponseController, body, sent []byte) error {
	e := event{At: time.Now().UTC().Format("15:04:05 UTC")}
	if !bytes.Equal(body, sent) {
		e.HTML = string(body)
	}
	var b bytes.Buffer
	b.WriteString("retry: 2000\ndata: ")
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(e); err != nil {
		return err
	}
	b.WriteString("\n")
	if err := connection.SetWriteDeadline(time.Now().Add(streamWrite)); err != nil {
		return err
	}
	if _, err := b.WriteTo(w); err != nil {
		return err
	}
	return connection.Flush()
}

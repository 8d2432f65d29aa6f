//go:build !race

package web_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/trainingmonkey/worker/test/dbtest"
)

// TestScrapeIsCheap takes the fastest of many scrapes, because the others waited for a
// processor. The race detector would dominate the time.
func TestScrapeIsCheap(t *testing.T) {
	t.Parallel()
	r := newRig(t, dbtest.MigratedURL(t))
	r.fill()
	handler, best := r.metrics.Handler(), time.Hour
	var size int
	for range 30 {
		recorder := httptest.NewRecorder()
		started := time.Now()
		handler.ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
		best, size = min(best, time.Since(started)), recorder.Body.Len()
	}
	t.Logf("a scrape of %d bytes takes %v", size, best)
	if best > 10*time.Millisecond {
		t.Errorf("a scrape takes %v, want at most 10 ms", best)
	}
}

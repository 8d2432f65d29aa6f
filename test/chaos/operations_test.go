//go:build chaos

package chaos

import (
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/trainingmonkey/worker/test/commandtest"
)

var operationsAddress = regexp.MustCompile(`"serving probes, metrics and pages","address":"([^"]+)"`)

// get requests a page from a running worker.
func (r *rig) get(w *commandtest.Process, path string) (status int, content string) {
	r.Helper()
	address := operationsAddress.FindStringSubmatch(w.Log())
	for deadline := time.Now().Add(10 * time.Second); address == nil; address = operationsAddress.FindStringSubmatch(w.Log()) {
		if time.Now().After(deadline) {
			r.Fatalf("the worker did not log the address of its pages:\n%s", w.Log())
		}
		time.Sleep(20 * time.Millisecond)
	}
	request, err := http.NewRequestWithContext(r.Context(), http.MethodGet, "http://"+address[1]+path, nil)
	if err != nil {
		r.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		r.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		r.Fatal(err)
	}
	return response.StatusCode, string(body)
}

func (r *rig) metrics(w *commandtest.Process) string {
	r.Helper()
	status, content := r.get(w, "/metrics")
	if status != http.StatusOK {
		r.Fatalf("metrics: %d", status)
	}
	return content
}

// becomes waits until a worker's readiness has the status and contains the text.
func (r *rig) becomes(w *commandtest.Process, status int, says string) (answer string) {
	r.Helper()
	for deadline := time.Now().Add(15 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		got, answer := r.get(w, "/readyz")
		if got == status && strings.Contains(answer, says) {
			return strings.TrimSpace(answer)
		}
		if time.Now().After(deadline) {
			r.Fatalf("/readyz = %d %s, want %d and %q", got, answer, status, says)
		}
	}
}

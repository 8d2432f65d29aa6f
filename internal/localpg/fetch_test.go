package localpg

import (
	"archive/zip"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// repository is a Maven repository whose every jar holds testdata/binaries.txz:
// initdb and postgres as shell scripts that know their version, 18.3.
func repository(t *testing.T) string {
	t.Helper()
	archive, err := os.ReadFile("testdata/binaries.txz")
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, ".jar") {
			http.NotFound(w, r)
			return
		}
		jar := zip.NewWriter(w)
		if f, err := jar.Create("postgres.txz"); err == nil {
			_, _ = f.Write(archive)
		}
		_ = jar.Close()
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// Several processes may find at once that the machine has no PostgreSQL.
func TestFetchAtOnce(t *testing.T) {
	t.Parallel()
	owner, err := serverAccount()
	if err != nil {
		t.Fatal(err)
	}
	from, cache := repository(t), filepath.Join(reachable(t), "cache")
	failed := make(chan error)
	for range 4 {
		go func() { failed <- fetchRelease(t.Context(), fetchable[0], from, cache) }()
	}
	for range 4 {
		if err := <-failed; err != nil {
			t.Errorf("fetchRelease() = %v", err)
		}
	}
	left, err := os.ReadDir(cache)
	if err != nil || len(left) != 1 || left[0].Name() != string(fetchable[0]) {
		t.Fatalf("cache holds %v (%v), want %s only", left, err, fetchable[0])
	}
	if got := clusterVersion(t.Context(), owner, filepath.Join(cache, left[0].Name(), "bin")); got != 18 {
		t.Errorf("clusterVersion() of what was fetched = %d, want 18", got)
	}
}

func TestFailedFetchLeavesNothing(t *testing.T) {
	t.Parallel()
	empty := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(empty.Close)
	cache := t.TempDir()
	err := fetchRelease(t.Context(), fetchable[0], empty.URL, cache)
	if err == nil || !strings.Contains(err.Error(), "no version found") {
		t.Errorf("fetchRelease() = %v, want the library's reason", err)
	}
	left, err := os.ReadDir(cache)
	if err != nil || len(left) != 0 {
		t.Errorf("cache holds %v (%v), want nothing", left, err)
	}
}

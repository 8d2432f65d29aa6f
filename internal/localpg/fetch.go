package localpg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// release is one release of PostgreSQL's programs at one source.
type release struct {
	name string // of its directory in the cache
	// unpack fetches it into a directory that does not exist yet: bin, lib, share.
	unpack func(ctx context.Context, into string) error
}

// releases lists the sources of a major version, in the order in which they are
// tried; 0 is for a new cluster.
func releases(major int) []release {
	if major == 0 {
		major = newestMajor
	}
	var all []release
	if version, ok := mavenVersions[major]; ok {
		all = append(all, mavenRelease(version, mavenCentral))
	}
	if version, ok := npmVersions[major]; ok {
		all = append(all, npmRelease(version))
	}
	return all
}

// fetchBinaries returns the directory of the programs of the first release that
// is in the cache or can be fetched.
func fetchBinaries(ctx context.Context, owner account, releases []release) (string, error) {
	cache, err := binariesCache()
	if err != nil {
		return "", err
	}
	return fetchInto(ctx, owner, releases, cache)
}

func fetchInto(ctx context.Context, owner account, releases []release, cache string) (string, error) {
	if len(releases) == 0 {
		return "", errors.New("no such release is known")
	}
	for _, r := range releases {
		if bin := filepath.Join(cache, r.name, "bin"); clusterVersion(ctx, owner, bin) != 0 {
			return bin, nil
		}
	}
	var errs []error
	for _, r := range releases {
		bin, err := fetchFrom(ctx, owner, r, cache)
		if err == nil {
			return bin, nil
		}
		errs = append(errs, fmt.Errorf("fetch PostgreSQL %s into %s: %w", r.name, cache, err))
	}
	return "", errors.Join(errs...)
}

func fetchFrom(ctx context.Context, owner account, r release, cache string) (bin string, err error) {
	fetched := make(chan error, 1)
	go func() { fetched <- r.fetch(ctx, cache) }()
	select {
	case err = <-fetched:
	case <-ctx.Done(): // not every download takes a context; it ends by itself
		err = ctx.Err()
	}
	if err != nil {
		return "", err
	}
	bin = filepath.Join(cache, r.name, "bin")
	if clusterVersion(ctx, owner, bin) == 0 {
		return "", fmt.Errorf("%s cannot run the programs in %s", owner.name, bin)
	}
	return bin, nil
}

// binariesCache returns a directory that the server's account can read and, if
// this process is root, only root can write.
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

// fetch unpacks into a directory of its own and renames it, so that two
// processes may fetch at once and neither sees half a release.
func (r release) fetch(ctx context.Context, cache string) (err error) {
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return err
	}
	work, err := os.MkdirTemp(cache, "fetch-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	unpacked := filepath.Join(work, "unpacked")
	if err := r.unpack(ctx, unpacked); err != nil {
		return err
	}
	if err := os.Chmod(unpacked, 0o755); err != nil {
		return err
	}
	target := filepath.Join(cache, r.name)
	if err := os.Rename(unpacked, target); err != nil {
		// Another process may have been faster; the caller tries its release.
		if _, statErr := os.Stat(target); statErr != nil {
			return err
		}
	}
	return nil
}

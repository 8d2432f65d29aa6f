package localpg

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
)

// PostgreSQL that the program supports.
const oldestMajor, newestMajor = 14, 18

// installPlaces are the directories where packages install binaries that are
// not on the PATH.
var installPlaces = []string{
	"/usr/lib/postgresql/*/bin", // Debian
	"/usr/pgsql-*/bin",          // Red Hat
	"/opt/homebrew/opt/postgresql@*/bin",
	"/usr/local/opt/postgresql@*/bin",
	"/opt/homebrew/bin",
	"/Applications/Postgres.app/Contents/Versions/*/bin",
}

// versionVariable names the environment variable that chooses the major version of servers.
const versionVariable = "LOCALPG_VERSION"

// wantedMajor returns the major version set in the environment, 0 for any.
func wantedMajor() (int, error) {
	text := os.Getenv(versionVariable)
	if text == "" {
		return 0, nil
	}
	major, err := strconv.Atoi(text)
	if err != nil || major < oldestMajor {
		return 0, fmt.Errorf("%s is %q, want the major version of a PostgreSQL from %d on, %d for example", versionVariable, text, oldestMajor, newestMajor)
	}
	return major, nil
}

// locateBinaries returns a directory with initdb and postgres that the account can run: of
// the given major version or, for 0, the newest. If the machine has none it fetches them.
func locateBinaries(ctx context.Context, owner account, major int, logger *slog.Logger) (string, error) {
	if bin := installed(ctx, owner, major, candidates()); bin != "" {
		return bin, nil
	}
	version := fmt.Sprintf("%d or later", oldestMajor)
	if major != 0 {
		version = strconv.Itoa(major)
	}
	logger.InfoContext(ctx, "PostgreSQL not found on this machine, fetching it", slog.String("version", version))
	bin, err := fetchBinaries(ctx, owner, releases(major))
	if err != nil {
		return "", fmt.Errorf("find PostgreSQL %[1]s: no usable initdb and postgres on this machine, and none could be fetched: "+
			"install PostgreSQL %[1]s or set DATABASE_URL: %[2]w", version, err)
	}
	return bin, nil
}

// candidates lists the directories to try, without repetition. Links are resolved because
// initdb searches for postgres, and both for their libraries, beside the real file.
func candidates() []string {
	var dirs []string
	add := func(program string) {
		real, err := filepath.EvalSymlinks(program)
		if err == nil && !slices.Contains(dirs, filepath.Dir(real)) {
			dirs = append(dirs, filepath.Dir(real))
		}
	}
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if !filepath.IsAbs(dir) {
			continue // never run programs in the working directory
		}
		add(filepath.Join(dir, "postgres"))
		add(filepath.Join(dir, "initdb"))
	}
	for _, place := range installPlaces {
		matches, _ := filepath.Glob(place) // the patterns are well formed
		for _, dir := range matches {
			add(filepath.Join(dir, "postgres"))
		}
	}
	return dirs
}

// installed returns the directory with the newest version, the first among equals, or "".
func installed(ctx context.Context, owner account, major int, dirs []string) string {
	type found struct {
		dir   string
		major int
	}
	var all []found
	for _, dir := range dirs {
		v := clusterVersion(ctx, owner, dir)
		if v >= oldestMajor && (major == 0 || v == major) {
			all = append(all, found{dir, v})
		}
	}
	if len(all) == 0 {
		return ""
	}
	slices.SortStableFunc(all, func(a, b found) int { return cmp.Compare(b.major, a.major) })
	return all[0].dir
}

var versionPattern = regexp.MustCompile(`\(PostgreSQL\) (\d+)`)

// clusterVersion returns the major version of the binaries in dir, 0 unless the
// account can run both and their versions agree.
func clusterVersion(ctx context.Context, owner account, dir string) int {
	major := 0
	for _, program := range []string{"postgres", "initdb"} {
		out, err := owner.output(ctx, filepath.Join(dir, program), "--version")
		match := versionPattern.FindStringSubmatch(out)
		if err != nil || match == nil {
			return 0
		}
		v, err := strconv.Atoi(match[1])
		if err != nil || (major != 0 && v != major) {
			return 0
		}
		major = v
	}
	return major
}

package metrics

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var unnamed = regexp.MustCompile("(\\w+)\\s*=\\s*`\\s*(?:SELECT|INSERT|UPDATE|DELETE|WITH)\\b")

// fragments begin like statements, but are parts of named statements or are only explained.
var fragments = []string{"selectWithoutResults", "selectWithoutOwners", "stateJobsQuery", "queueJobsQuery", "waitingActivitiesQuery", "usersToRefreshQuery", "waitingJobs", "chunksOfBackfill", "windowsWith", "writeResults"}

// TestStatementsAreNamed: metrics, the log of slow statements and pg_stat_statements
// distinguish statements by name. The oracle is not part of the load.
func TestStatementsAreNamed(t *testing.T) {
	t.Parallel()
	seen := 0
	err := filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		switch slashed := filepath.ToSlash(path); {
		case err != nil:
			return err
		case entry.IsDir() && (slashed == "../../bench" || slashed == "../../test" || slashed == "../../internal/oracle" || entry.Name() == ".git"):
			return filepath.SkipDir
		case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		code, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		seen += strings.Count(string(code), "\n-- name: ")
		for _, found := range unnamed.FindAllStringSubmatch(string(code), -1) {
			if !slices.Contains(fragments, found[1]) {
				t.Errorf("%s: %s has no name", path, found[1])
			}
		}
		return nil
	})
	if err != nil || seen < 100 {
		t.Errorf("%d named statements were found, want more than a hundred: %v", seen, err)
	}
}

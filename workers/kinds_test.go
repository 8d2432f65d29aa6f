package workers

import (
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/trainingmonkey/worker/jobs"
	"github.com/trainingmonkey/worker/test/dbtest"
	"github.com/trainingmonkey/worker/test/providertest"
)

var kindConstant = regexp.MustCompile(`\bKind\w+ *= "(\w+)"`)

// TestEveryKindIsInEveryListing checks the listings behind metrics and pages. The web's
// and the command's have their own tests over jobs.Kinds.
func TestEveryKindIsInEveryListing(t *testing.T) {
	t.Parallel()
	declared := map[string]bool{}
	files, err := filepath.Glob("../jobs/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		code, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range kindConstant.FindAllStringSubmatch(string(code), -1) {
			declared[found[1]] = true
		}
	}
	kinds := slices.Sorted(slices.Values(jobs.Kinds()))
	if diff := cmp.Diff(slices.Sorted(maps.Keys(declared)), kinds); diff != "" {
		t.Errorf("jobs.Kinds (-declared +listed):\n%s", diff)
	}

	pool, provider := dbtest.Migrated(t), providertest.New(t, nil)
	c := tokenConfig(t, provider)
	authorized(t, pool, c, provider, 1, time.Minute)
	enqueueTokens(t, pool, 1)
	s, err := New(t.Context(), pool, c, slog.New(slog.NewTextHandler(t.Output(), nil)), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	lanes, queues := map[string]bool{}, map[string]bool{}
	for _, l := range s.Lanes() {
		lanes[l.Kind], queues[l.Queue] = true, true
		if l.Kind == jobs.KindTokenRefresh && (l.Committed == 0 || l.Failed > 0) {
			t.Errorf("the token lane has counted %+v, want the job", l.Stats)
		}
	}
	if diff := cmp.Diff(kinds, slices.Sorted(maps.Keys(lanes))); diff != "" {
		t.Errorf("lanes (-kinds +lanes):\n%s", diff)
	}
	if diff := cmp.Diff(slices.Sorted(slices.Values(QueueNames())), slices.Sorted(maps.Keys(queues))); diff != "" {
		t.Errorf("queues (-names +of lanes):\n%s", diff)
	}
	var counted int
	if err := pool.QueryRow(t.Context(), `SELECT coalesce(sum(committed), 0) FROM river.worker_throughput WHERE kind = 'token_refresh'`).Scan(&counted); err != nil || counted == 0 {
		t.Errorf("throughput has %d token jobs, %v", counted, err)
	}
}

package localpg

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fakeBinaries makes a directory of programs that only print their version.
func fakeBinaries(t *testing.T, versions map[string]string) string {
	t.Helper()
	dir := reachable(t)
	for program, version := range versions {
		script := fmt.Sprintf("#!/bin/sh\necho '%s (PostgreSQL) %s'\n", program, version)
		if err := os.WriteFile(filepath.Join(dir, program), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestInstalledChoosesVersion(t *testing.T) {
	t.Parallel()
	owner, err := serverAccount()
	if err != nil {
		t.Fatal(err)
	}
	both := func(version string) map[string]string {
		return map[string]string{"postgres": version, "initdb": version}
	}
	old := fakeBinaries(t, both("13.9"))
	v15 := fakeBinaries(t, both("15.14 (Debian 15.14-0+deb12u1)"))
	again := fakeBinaries(t, both("15.2"))
	beta := fakeBinaries(t, both("19beta1"))
	mixed := fakeBinaries(t, map[string]string{"postgres": "30.1", "initdb": "29.1"})
	half := fakeBinaries(t, map[string]string{"postgres": "31.1"})
	for _, test := range []struct {
		major int
		dirs  []string
		want  string
	}{
		{0, []string{old, v15, mixed, half, beta}, beta},
		{0, []string{old, again, v15}, again},
		{15, []string{beta, v15, again}, v15},
		{16, []string{beta, v15}, ""},
		{0, []string{old, mixed, half, "/nonexistent"}, ""},
	} {
		if got := installed(t.Context(), owner, test.major, test.dirs); got != test.want {
			t.Errorf("installed(%d, %v) = %q, want %q", test.major, test.dirs, got, test.want)
		}
	}
}

// TestCandidatesFollowLinks: a PATH entry may link to only one of the two programs.
func TestCandidatesFollowLinks(t *testing.T) {
	bin := fakeBinaries(t, map[string]string{"postgres": "17.1", "initdb": "17.1"})
	want, err := filepath.EvalSymlinks(bin)
	if err != nil {
		t.Fatal(err)
	}
	for _, program := range []string{"postgres", "initdb"} {
		links := t.TempDir()
		if err := os.Symlink(filepath.Join(bin, program), filepath.Join(links, program)); err != nil {
			t.Fatal(err)
		}
		t.Setenv("PATH", links)
		if got := candidates(); len(got) == 0 || got[0] != want {
			t.Errorf("candidates() with a link to %s = %v, want %s first", program, got, want)
		}
	}
}

// TestOtherVersionsCluster: a cluster is only run by the version that created it.
func TestOtherVersionsCluster(t *testing.T) {
	t.Parallel()
	dir := clusterDir(t)
	if err := os.MkdirAll(filepath.Join(dir, "data"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "data", "PG_VERSION"), []byte("99\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := Start(t.Context(), Options{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "PostgreSQL 99") && !strings.Contains(err.Error(), "is one of 99") {
		t.Errorf("Start() = %v, want it to ask for version 99", err)
	}
}

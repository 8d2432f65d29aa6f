// Package docs_test checks that the documentation agrees with the repository.
package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	testNamed = regexp.MustCompile("`(Test[A-Z][A-Za-z0-9]*)\\$?`")
	testFound = regexp.MustCompile(`(?m)^func (Test[A-Z][A-Za-z0-9]*)\(`)
	linkTo    = regexp.MustCompile(`\]\(([^):#]+)(#[^)]*)?\)`)
	fileNamed = regexp.MustCompile("`([a-z_.]+(?:/[a-zA-Z0-9_.-]+)+\\.(?:go|sql|yaml|md|sh|py))`")
)

// pages returns the text of every page by its path from the root.
func pages(t *testing.T) map[string]string {
	t.Helper()
	texts := map[string]string{}
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".md") {
			return err
		}
		text, err := os.ReadFile(path)
		texts[path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(texts) < 8 {
		t.Fatalf("%d pages found", len(texts))
	}
	return texts
}

// TestNamedTestsExist: every test that a page names exists.
func TestNamedTestsExist(t *testing.T) {
	t.Parallel()
	exists := map[string]bool{}
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, found := range testFound.FindAllStringSubmatch(string(text), -1) {
			exists[found[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for path, text := range pages(t) {
		for _, named := range testNamed.FindAllStringSubmatch(text, -1) {
			if !exists[named[1]] {
				t.Errorf("%s names %s, which does not exist", path, named[1])
			}
		}
	}
}

// TestNamedFilesExist: every file that a page links to or names exists.
func TestNamedFilesExist(t *testing.T) {
	t.Parallel()
	for path, text := range pages(t) {
		for _, link := range linkTo.FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), link[1])); err != nil {
				t.Errorf("%s links to %s: %v", path, link[1], err)
			}
		}
		for _, named := range fileNamed.FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join("..", named[1])); err != nil {
				t.Errorf("%s names %s: %v", path, named[1], err)
			}
		}
	}
}

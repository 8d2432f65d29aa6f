package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

var (
	section = regexp.MustCompile(`(?m)^## (.+)$`)
	block   = regexp.MustCompile("(?s)```(sql|csv|text)\n(.*?)```")
)

// TestExamplesOfImports runs the examples of docs/imports.md.
func TestExamplesOfImports(t *testing.T) {
	page, err := os.ReadFile("../../docs/imports.md")
	if err != nil {
		t.Fatal(err)
	}
	pool := migrated(t)
	titles := section.FindAllStringSubmatchIndex(string(page), -1)
	for i, title := range titles {
		end := len(page)
		if i+1 < len(titles) {
			end = titles[i+1][0]
		}
		t.Run(string(page[title[2]:title[3]]), func(t *testing.T) {
			example := map[string]string{}
			for _, b := range block.FindAllStringSubmatch(string(page[title[0]:end]), -1) {
				example[b[1]] = b[2]
			}
			if example["csv"] == "" || example["text"] == "" {
				t.Fatal("the section has no example")
			}
			execute(t, pool, `TRUNCATE activities`)
			if example["sql"] != "" {
				execute(t, pool, example["sql"])
			}
			got := enqueue(t, "ingest", "--dry-run", "--user", "7", "--timezone", "US/Pacific", file(t, "activities.csv", example["csv"]))
			if got.code != 0 || strings.TrimSpace(got.stdout) != strings.TrimSpace(example["text"]) {
				t.Errorf("exit code %d, stdout is\n%s\nwant\n%s\n%s", got.code, got.stdout, example["text"], got.stderr)
			}
		})
	}
}

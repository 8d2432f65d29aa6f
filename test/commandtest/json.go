package commandtest

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// These match docs/json.md's documents: a heading with the commands that print one, and
// a table of its fields.
var (
	documentHeading = regexp.MustCompile("(?m)^## (`[^\n]*`)\n")
	documentField   = regexp.MustCompile("(?m)^\\| `([^`]+)` \\|")
)

// JSONDocuments returns the fields that docs/json.md lists for each command. The
// calling package must be two directories below the module.
func JSONDocuments(t testing.TB) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("../../docs/json.md")
	if err != nil {
		t.Fatal(err)
	}
	documents := map[string][]string{}
	headings := documentHeading.FindAllSubmatchIndex(text, -1)
	for i, h := range headings {
		end := len(text)
		if i+1 < len(headings) {
			end = headings[i+1][0]
		}
		var fields []string
		for _, field := range documentField.FindAllSubmatch(text[h[1]:end], -1) {
			fields = append(fields, string(field[1]))
		}
		for command := range strings.SplitSeq(string(text[h[2]:h[3]]), ", ") {
			documents[strings.Trim(command, "`")] = fields
		}
	}
	return documents
}

// CheckJSON fails the test unless the documents that a command printed have, in total,
// exactly the documented fields. A field is named by its path, such as
// queues[].states[].jobs; below a path that ends in * anything is allowed.
func CheckJSON(t testing.TB, command string, documented []string, printed ...string) {
	t.Helper()
	found := map[string]bool{}
	for _, text := range printed {
		var v any
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Fatalf("%s prints no JSON: %v\n%s", command, err, text)
		}
		addFields(found, "", v)
	}
	for _, field := range documented {
		free, isFree := strings.CutSuffix(field, "*")
		known := false
		for path := range found {
			if path == field || (isFree && strings.HasPrefix(path, free)) {
				known = true
				delete(found, path)
			}
		}
		if !known {
			t.Errorf("%s: %s is documented and not printed", command, field)
		}
	}
	var missing []string
	for path := range found {
		missing = append(missing, path)
	}
	slices.Sort(missing)
	for _, path := range missing {
		t.Errorf("%s: %s is printed and not documented", command, path)
	}
}

// addFields collects the paths of all values but objects and lists.
func addFields(found map[string]bool, path string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			addFields(found, strings.TrimPrefix(path+"."+key, "."), value)
		}
	case []any:
		for _, value := range v {
			addFields(found, path+"[]", value)
		}
	default:
		found[path] = true
	}
}

package docs_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// avoided has the words that are not used, in prose, names and what users read, each with
// its replacement: a word means one thing in the whole repository, and the field's term is
// preferred.
var avoided = map[string]string{
	"tell": "log, notify, report or say", "tells": "reports or says", "told": "logged, notified or reported", "untold": "not logged",
	"look": "check, read or poll", "looks": "checks, reads or polls", "looked": "checked or read", "looking": "checking or polling",
	"standing": "status", "standings": "statuses", "verdict": "result or outcome", "verdicts": "results", "fate": "outcome",
	"gate": "throttle", "gates": "throttles", "guard": "middleware or auth", "guards": "protects",
	"linger": "wait or batch window", "lingers": "waits", "patience": "max wait", "patient": "without a timeout",
	"goodbye": "deregistration", "stranger": "orphaned job", "strangers": "orphaned jobs",
	"guilty": "poison job", "culprit": "poison job", "overview": "snapshot",
	"planted": "injected", "plant": "inject", "healed": "corrected", "heal": "correct", "spoken": "human-readable",
}

// avoidedInNames are plain English in prose, but not used in names that Go code declares
// or in file names.
var avoidedInNames = map[string]string{
	"most": "max", "longest": "max", "least": "min", "shortest": "min", "narrowest": "min",
	"hold": "lease, claim or keep", "company": "batch", "alone": "isolated", "together": "batch", "everyone": "all users",
	"operator": "admin or actions", "right": "correct or up to date", "quiet": "suppressed",
	"turn": "a name for a pass of a lane's loop and nothing else", "turns": "a name for passes of a lane's loop and nothing else",
	"join": "register", "leave": "deregister",
}

// kept are the exceptions: lines or names that contain the text.
var kept = []struct{ path, text, why string }{
	{"", "overview_age_seconds", "the name of a metric"},
	{"", "OverviewOld", "the name of an alert"},
	{"", "save_linger", "a setting of before, named in an error and in the changelog"},
	{"", "batching.linger", "the name of a setting of earlier versions"},
	{"", `linger: 15ms`, "the name of a setting of earlier versions"},
	{"CHANGELOG.md", "linger, patience", "names of settings of earlier versions"},
	{"", "reasons.discarded.looked", "the name of a field of JSON"},
	{"internal/admin/reasons.go", `json:"looked"`, "the name of a field of JSON"},
	{"cmd/enqueue/badinput_test.go", "invalid character 'N' looking for", "a message of encoding/json"},
	{"docs/comparison.md", "oban_web/overview.html", "an address"},
	{"migrations/templates/", "", "migrations that databases already have are not rewritten"},
	{"docs/words_test.go", "", "the list itself"},
}

// keptNames are the exceptions among names, by path prefix.
var keptNames = []struct{ path, name, why string }{
	{"bench/snapshot.go", "holdSnapshot", "a snapshot of the database that is held open"},
	{"test/chaos/server_test.go", "holdTransactions", "transactions that are held open"},
	{"internal/queue/counts.go", "AtLeast", "a lower bound"},
	{"internal/activityfile/export_record.go", "atLeastZero", "a lower bound"},
	{"internal/web/athlete_svg.go", "right", "the direction"},
	{"workers/", "alone", "the column activities.ingest_alone: a row made of partial versions only"},
	{"workers/", "isAlone", "the column activities.ingest_alone"},
	{"workers/layers.go", "Alone", "a field of JSON that is stored"},
	{"test/chaos/turns_test.go", "turns", "passes of a lane's loop"},
	{"test/chaos/turns_test.go", "turns_test.go", "passes of a lane's loop"},
	{"internal/lane/", "turn.go", "a pass of a lane's loop"},
	{"internal/lane/", "turn", "a pass of a lane's loop"},
	{"internal/lane/", "Turn", "a pass of a lane's loop"},
	{"internal/lane/", "turns", "passes of a lane's loop"},
	{"workers/lanes.go", "Turn", "a pass of a lane's loop"},
}

var (
	textFile   = regexp.MustCompile(`\.(go|md|ya?ml|sql|html|css|js|py|sh|toml|service|json)$|^(Dockerfile|run)$`)
	caseChange = regexp.MustCompile(`([a-z0-9])([A-Z])|([A-Z])([A-Z][a-z])`)
	word       = regexp.MustCompile(`[a-z]+`)
	ofFunction = regexp.MustCompile(`^[A-Za-z]*[a-z]Of$`)
)

// words returns the words of a text in lower case. Names are split where the case
// changes: TestLook has the word look, and lookup has not.
func words(text string) []string {
	return word.FindAllString(strings.ToLower(caseChange.ReplaceAllString(text, "$1$3 $2$4")), -1)
}

func isKept(path, text string) bool {
	for _, k := range kept {
		if strings.HasPrefix(path, k.path) && strings.Contains(text, k.text) {
			return true
		}
	}
	return false
}

func isKeptName(path, name string) bool {
	for _, k := range keptNames {
		if strings.HasPrefix(path, k.path) && name == k.name {
			return true
		}
	}
	return isKept(path, name)
}

// findWords returns the words of a text that are in a list, each with its replacement.
func findWords(text string, list map[string]string) (found []string) {
	for _, w := range words(text) {
		if instead, listed := list[w]; listed {
			found = append(found, fmt.Sprintf("%s: say %s", w, instead))
		}
	}
	return found
}

// findInText returns the avoided words of a file, line by line.
func findInText(path, text string) (found []string) {
	for i, line := range strings.Split(text, "\n") {
		if isKept(path, line) {
			continue
		}
		for _, f := range findWords(line, avoided) {
			found = append(found, fmt.Sprintf("%s:%d: %s", path, i+1, f))
		}
	}
	return found
}

// declaredNames returns the names that a Go file declares, by their positions.
func declaredNames(file *ast.File) map[token.Pos]string {
	names := map[token.Pos]string{}
	add := func(idents ...*ast.Ident) {
		for _, ident := range idents {
			names[ident.Pos()] = ident.Name
		}
	}
	ast.Inspect(file, func(node ast.Node) bool {
		switch n := node.(type) {
		case *ast.FuncDecl:
			add(n.Name)
		case *ast.TypeSpec:
			add(n.Name)
		case *ast.ValueSpec:
			add(n.Names...)
		case *ast.Field:
			add(n.Names...)
		case *ast.AssignStmt:
			for _, left := range n.Lhs {
				if ident, is := left.(*ast.Ident); is && n.Tok == token.DEFINE {
					add(ident)
				}
			}
		}
		return true
	})
	return names
}

// findInNames returns the avoided words in the names that a Go file declares, and the
// functions that are named …Of rather than by what they return.
func findInNames(path, text string) (found []string, err error) {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, text, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	for pos, name := range declaredNames(file) {
		if isKeptName(path, name) {
			continue
		}
		for _, f := range findWords(name, avoidedInNames) {
			found = append(found, fmt.Sprintf("%s: %s: %s", files.Position(pos), name, f))
		}
		if ofFunction.MatchString(name) {
			found = append(found, fmt.Sprintf("%s: %s: name it by what it returns", files.Position(pos), name))
		}
	}
	slices.Sort(found)
	return found, nil
}

// TestWordsOfTheHouse reads every text of the repository.
func TestWordsOfTheHouse(t *testing.T) {
	t.Parallel()
	read := 0
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() && (name == ".git" || name == "testdata" && !strings.Contains(path, "python") || name == "__pycache__") {
			return filepath.SkipDir
		}
		if entry.IsDir() || !textFile.MatchString(name) {
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		read++
		path, text := strings.TrimPrefix(filepath.ToSlash(path), "../"), string(content)
		found := findInText(path, text)
		if !isKeptName(path, name) {
			for _, f := range append(findWords(name, avoided), findWords(name, avoidedInNames)...) {
				found = append(found, path+": the name of the file: "+f)
			}
		}
		if strings.HasSuffix(name, ".go") {
			inNames, err := findInNames(path, text)
			if err != nil {
				return err
			}
			found = append(found, inNames...)
		}
		for _, f := range found {
			t.Error(f)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if read < 400 {
		t.Errorf("%d texts read", read)
	}
}

// TestAvoidedWordsAreFound: in prose and in names of any case, and only as whole words.
func TestAvoidedWordsAreFound(t *testing.T) {
	t.Parallel()
	const source = `package p

// gateOf looks whether the lookup is investigated.
func gateOf(longestWait int) (outlook, mostly int) {
	tellAll, found := 1, 2 // a teller told nobody
	return tellAll, found
}

type overviewHTML struct{ holdTime int }
`
	inText, want := strings.Join(findInText("p.go", source), "\n"), []string{
		"p.go:3: gate: ", "p.go:3: looks: ", "p.go:4: gate: ", "p.go:5: tell: ", "p.go:5: told: ", "p.go:6: tell: ", "p.go:9: overview: ",
	}
	if got := len(strings.Split(inText, "\n")); got != len(want) {
		t.Errorf("%d words are found, want %d:\n%s", got, len(want), inText)
	}
	for _, w := range want {
		if !strings.Contains(inText, w) {
			t.Errorf("%q is not found:\n%s", w, inText)
		}
	}
	names, err := findInNames("p.go", source)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(names, "\n"); len(names) != 3 || !strings.Contains(got, "longestWait") || !strings.Contains(got, "holdTime") || !strings.Contains(got, "gateOf: name it") {
		t.Errorf("found in names:\n%s", got)
	}
}

// TestKeptWordsHaveReasons: each exception says why, and its path exists.
func TestKeptWordsHaveReasons(t *testing.T) {
	t.Parallel()
	for _, k := range kept {
		if k.why == "" {
			t.Errorf("%q has no reason", k.path+k.text)
		}
		if _, err := os.Stat(filepath.Join("..", k.path)); err != nil {
			t.Errorf("%s: %v", k.path, err)
		}
	}
	for _, k := range keptNames {
		if _, err := os.Stat(filepath.Join("..", k.path)); err != nil || k.why == "" {
			t.Errorf("%s %s: %q, %v", k.path, k.name, k.why, err)
		}
	}
}

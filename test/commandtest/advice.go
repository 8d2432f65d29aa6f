package commandtest

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// adviceMarker matches what precedes a command in a text that recommends it.
const adviceMarker = "(?:: |`|<code>|\\bsee |\\bwith |\\bthen |\\bor )"

// noAdvice matches text after a marker that only begins like a command.
var noAdvice = map[string]*regexp.Regexp{
	"worker":  regexp.MustCompile("^worker (tables at|processes that) "),     // a count of migrations, the help of a metric
	"enqueue": regexp.MustCompile("^enqueue (it as deleted|queues resume)$"), // a sentence; a prefix that internal/web/changes.go completes
}

// CheckAdvice fails the test unless root's program accepts every command that the texts
// of the commands, the texts of packages that they print, and the pages recommend: the
// command and its flags exist, and its required arguments are given, except in pages,
// which also name commands without arguments. It returns the commands found. The
// calling package must be two directories below the module.
func CheckAdvice(t *testing.T, root func() *cobra.Command) []string {
	t.Helper()
	found := map[string][]string{} // the places where each was found
	collect := func(path, text string, whole bool) {
		for _, command := range adviceIn(text, root().Name(), whole) {
			found[command] = append(found[command], path)
		}
	}
	err := filepath.WalkDir(filepath.Join("..", ".."), func(path string, entry fs.DirEntry, err error) error {
		name := strings.TrimPrefix(filepath.ToSlash(path), "../../")
		switch {
		case err != nil:
			return err
		case entry.IsDir() && slices.Contains([]string{".git", "bench", "test", "testdata", "examples", "clients"}, entry.Name()):
			return filepath.SkipDir
		case strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go"):
			texts, err := literals(path)
			for _, text := range texts {
				collect(name, text, !strings.HasPrefix(name, "cmd/")) // in cmd/, texts that begin with a program's name are names of sessions
			}
			return err
		case strings.HasSuffix(name, ".html"), strings.HasSuffix(name, ".md") && name != "CHANGELOG.md":
			text, err := os.ReadFile(path)
			collect(name, string(text), false)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var commands []string
	for command, paths := range found {
		if noAdvice[root().Name()].MatchString(command) {
			continue
		}
		commands = append(commands, command)
		inPagesOnly := !slices.ContainsFunc(paths, func(path string) bool { return !strings.HasSuffix(path, ".md") })
		if err := accepts(root(), strings.Fields(command)[1:], inPagesOnly); err != nil {
			t.Errorf("%s recommends: %s: %v", strings.Join(paths, ", "), command, err)
		}
	}
	slices.Sort(commands)
	return commands
}

var (
	adviceEnd   = regexp.MustCompile("[.,;)`<\n#|:](?:\\s|$|[^\\w])|[`<\n#|]")
	placeholder = regexp.MustCompile(`%\[?\d?\]?[dsqvw]`)
	continued   = regexp.MustCompile(`(\S)%s$`) // optional flags
)

// adviceIn returns the commands in a text; with whole, the text itself may be one.
func adviceIn(text, program string, whole bool) (found []string) {
	marker := adviceMarker
	if whole {
		marker = "(?:^|" + marker + ")"
	}
	for _, at := range regexp.MustCompile(marker+`(?:\./)?(`+program+` [a-z])`).FindAllStringSubmatchIndex(text, -1) {
		command := text[at[2]:]
		if end := adviceEnd.FindStringIndex(command); end != nil {
			command = command[:end[0]]
		}
		command = continued.ReplaceAllString(strings.TrimSpace(command), "$1")
		found = append(found, placeholder.ReplaceAllString(command, "7"))
	}
	return found
}

// literals returns the texts of a Go file; in a concatenation, 7 stands for anything
// but a literal.
func literals(path string) (texts []string, err error) {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BinaryExpr:
			if text, ok := sum(n); ok {
				texts = append(texts, text)
				return false
			}
		case *ast.BasicLit:
			if text, ok := sum(n); ok {
				texts = append(texts, text)
			}
		}
		return true
	})
	return texts, nil
}

// sum returns the text of an expression, and false if it has no literal.
func sum(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BinaryExpr:
		first, ok := sum(e.X)
		second, also := sum(e.Y)
		return first + second, e.Op == token.ADD && (ok || also)
	case *ast.BasicLit:
		if e.Kind == token.STRING {
			text, err := strconv.Unquote(e.Value)
			return text, err == nil
		}
	}
	return "7", false
}

// accepts reports why a program does not accept a command line, without running it. In
// an incomplete one, the arguments may be missing.
func accepts(root *cobra.Command, args []string, incomplete bool) error {
	root.PersistentFlags().String("config", "", "")
	c, rest, err := root.Find(args)
	if err != nil {
		return err
	}
	switch err := c.ParseFlags(rest); {
	case errors.Is(err, pflag.ErrHelp):
		return nil
	case err != nil:
		return err
	}
	left := c.Flags().Args()
	if !c.Runnable() && len(left) > 0 {
		return fmt.Errorf("%s has no command %q", c.CommandPath(), left[0])
	}
	if incomplete && len(left) == 0 {
		return nil
	}
	if strings.Contains(c.Use, " --user N") && !c.Flags().Changed("user") {
		return errors.New("--user is required")
	}
	return c.ValidateArgs(left)
}

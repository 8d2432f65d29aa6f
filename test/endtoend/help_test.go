package endtoend

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	subcommands = regexp.MustCompile(`(?s)\nAvailable Commands:\n(.*?)\n\n`)
	flagsOfHelp = regexp.MustCompile(`(?s)\nFlags:\n(.*?)(?:\n\n|$)`)
	subcommand  = regexp.MustCompile(`(?m)^  (\S+)`)
	flagName    = regexp.MustCompile(`(?m)^ +(?:-\w, |    )--(\S+)`)
)

// listCommands returns the commands below one, by its help: those without subcommands,
// and those with flags of their own.
func listCommands(t *testing.T, command string) (listed []string) {
	t.Helper()
	words := append(strings.Fields(command), "--help")
	out, errs, code := commands.Run(t, "", words[0], words[1:]...)
	if code != 0 {
		t.Fatalf("%s --help = %d: %s", command, code, errs)
	}
	below := subcommands.FindStringSubmatch(out)
	for _, flag := range flagName.FindAllStringSubmatch(strings.Join(flagsOfHelp.FindStringSubmatch(out), ""), -1) {
		if below == nil || !slices.Contains([]string{"help", "config"}, flag[1]) {
			listed = []string{command}
		}
	}
	if below == nil {
		return listed
	}
	for _, name := range subcommand.FindAllStringSubmatch(below[1], -1) {
		if name[1] != "help" && name[1] != "completion" { // cobra's
			listed = append(listed, listCommands(t, command+" "+name[1])...)
		}
	}
	return listed
}

package cli

import (
	"runtime/debug"

	"github.com/spf13/cobra"
)

// VersionCommand returns the command that prints the version of the named program.
func (p *Program) VersionCommand(program string) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version of this program",
		Example: "  " + program + " version",
		RunE: func(*cobra.Command, []string) error {
			p.Printf("%s\n", Version())
			return nil
		},
	}
}

// Version returns the version that the Go toolchain recorded: the module's version, or
// the commit.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	version, revision, modified := info.Main.Version, "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = " " + s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = " (modified)"
		}
	}
	return version + revision + modified
}

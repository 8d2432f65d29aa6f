package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/config"
)

// Program has what all commands of a program share: where they print, --config and --json.
// Callers need not check for errors of printing: Run returns the first one.
type Program struct {
	Out, Err   io.Writer
	ConfigFile string
	JSON       bool

	broken error
	colors bool // on stdout
}

// Run runs the command tree. A command takes no arguments unless it sets Args. Errors of
// cobra, such as unknown commands and flags, become a UsageError that mentions --help.
func (p *Program) Run(ctx context.Context, root *cobra.Command, args []string) error {
	p.colors = showsColors(p.Out, os.Getenv)
	root.SetArgs(args)
	root.SetOut(p.Out)
	root.SetErr(p.Err)
	root.SilenceErrors, root.SilenceUsage = true, true
	markUsageErrors(root)
	root.PersistentFlags().StringVar(&p.ConfigFile, "config", "", "configuration `file` (default config.yaml if there is one)")
	fitHelp(root, p.Out)
	err := root.ExecuteContext(ctx)
	if usage := (*UsageError)(nil); err != nil && !errors.As(err, &usage) && strings.HasPrefix(err.Error(), "unknown command ") {
		return Usagef("%w; see: %s --help", err, root.Name())
	}
	if err == nil {
		err = p.broken
	}
	return err
}

// Broken returns the first error of printing, for commands that print until it occurs.
func (p *Program) Broken() error { return p.broken }

func (p *Program) note(err error) {
	if p.broken == nil {
		p.broken = err
	}
}

// Printf prints to stdout.
func (p *Program) Printf(format string, args ...any) {
	_, err := fmt.Fprintf(p.Out, format, args...)
	p.note(err)
}

// Warnf prints to stderr, because stdout may be JSON. Its errors are ignored, because they
// cannot be reported.
func (p *Program) Warnf(format string, args ...any) { _, _ = fmt.Fprintf(p.Err, format, args...) }

// Table prints rows as WriteTable does.
func (p *Program) Table(header string, rows []string) { p.note(WriteTable(p.Out, header, rows)) }

// Encode prints a value as one line of JSON.
func (p *Program) Encode(value any) error { return json.NewEncoder(p.Out).Encode(value) }

// Show prints a value as JSON if --json is given, and otherwise calls write.
func (p *Program) Show(value any, write func()) error {
	if p.JSON {
		return p.Encode(value)
	}
	write()
	return nil
}

// JSONFlag adds --json; what describes the output, as "a JSON object".
func (p *Program) JSONFlag(c *cobra.Command, what string) {
	c.Flags().BoolVar(&p.JSON, "json", false, "print "+what)
}

// WithPool calls fn with the configuration and its database.
func (p *Program) WithPool(ctx context.Context, application string, fn func(*dbpool.Pool, config.Config) error) error {
	settings, err := LoadConfig(p.ConfigFile)
	if err != nil {
		return err
	}
	pool, err := OpenPool(ctx, settings, application, nil)
	if err != nil {
		return err
	}
	defer pool.Close()
	return fn(pool, settings)
}

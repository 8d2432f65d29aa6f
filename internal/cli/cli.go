// Package cli has what the commands share: exit codes, signals, logging, and
// opening the configured database.
//
// Rule: exit code 2 when the caller has to change the command line, configuration or
// input, 1 when something failed, 0 otherwise. Errors go to stderr, results to stdout.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// UsageError is an error that the caller can only fix by changing the command line,
// configuration or input.
type UsageError struct{ Err error }

// Error implements error.
func (e *UsageError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *UsageError) Unwrap() error { return e.Err }

// Usagef returns a UsageError.
func Usagef(format string, args ...any) error { return &UsageError{fmt.Errorf(format, args...)} }

// Run is a whole program; tests call it as main does.
type Run func(ctx context.Context, args []string, stdout, stderr io.Writer) error

// Main runs the program with a context that SIGINT and SIGTERM end, prints its
// error, and returns the exit code. A second signal ends the process at once.
func Main(run Run) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	return ExitCode(run(ctx, os.Args[1:], os.Stdout, os.Stderr), os.Stderr)
}

// ExitCode prints err, if any, and returns its exit code.
func ExitCode(err error, stderr io.Writer) int {
	if err == nil {
		return 0
	}
	code, said := 1, "error: "+err.Error()
	if usage := (*UsageError)(nil); errors.As(err, &usage) {
		code = 2
	}
	if errors.Is(err, context.Canceled) {
		code, said = 1, strings.ReplaceAll(err.Error(), context.Canceled.Error(), "interrupted")
	}
	_, _ = fmt.Fprintln(stderr, said) // a broken stderr cannot be reported
	return code
}

func markUsageErrors(c *cobra.Command) {
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return Usagef("%w; see: %s --help", err, c.CommandPath())
	})
	check := c.Args
	if check == nil {
		check = cobra.NoArgs
	}
	c.Args = func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return Usagef("%w; see: %s --help", err, c.CommandPath())
		}
		return nil
	}
	if c.HasSubCommands() && c.RunE == nil {
		c.Args = cobra.ArbitraryArgs
		c.RunE = func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return Usagef("unknown command %q for %q; see: %s --help", args[0], c.CommandPath(), c.CommandPath())
			}
			return c.Help()
		}
	}
	for _, sub := range c.Commands() {
		markUsageErrors(sub)
	}
}

package commandtest

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Terminal opens a terminal of the given width for programs to print to, and returns a
// function that returns what was printed since its last call.
func Terminal(t testing.TB, columns uint16) (terminal *os.File, printed func() string) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = screen.Close() })
	fd := int(screen.Fd())
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns})
	}
	if err == nil {
		terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = terminal.Close() })
	return terminal, screenReader(t, screen, terminal)
}

// screenReader reads up to a mark that it prints itself, so that nothing printed
// earlier is missed.
func screenReader(t testing.TB, screen, terminal *os.File) func() string {
	t.Helper()
	lines := make(chan string)
	go func() {
		defer close(lines)
		var text strings.Builder
		part := make([]byte, 1<<12)
		for {
			n, err := screen.Read(part)
			text.Write(part[:n])
			if before, rest, ok := strings.Cut(text.String(), endOfPrinted); ok {
				lines <- strings.ReplaceAll(before, "\r\n", "\n")
				text.Reset()
				text.WriteString(strings.TrimPrefix(rest, "\r\n"))
			}
			if err != nil {
				return
			}
		}
	}()
	return func() string {
		t.Helper()
		if _, err := terminal.WriteString(endOfPrinted); err != nil {
			t.Fatal(err)
		}
		return <-lines
	}
}

const endOfPrinted = "\x00end\x00"

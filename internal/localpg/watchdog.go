package localpg

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
)

// watchdogScript is a shell script because a shell exists on every machine and survives a
// kill -9 of this process.
//
//go:embed watchdog.sh
var watchdogScript string

// Orders for the watchdog.
const (
	fast = "fast"      // disconnect the clients, write a checkpoint, end
	quit = "immediate" // end as in a crash
)

// watchdog is a shell in a session of its own, out of reach of Ctrl-C. It runs
// one command, and stops it on an order or when this process ends.
type watchdog struct {
	orders  *os.File // closed by the kernel when this process ends, for whatever reason
	stopped sync.Once
	done    chan struct{} // closed when the command and the shell have ended
	err     error         // how the command ended, once done is closed
}

// watch runs argv as the directory's owner, with its output in the directory's
// log. Cancelling ctx does not stop it.
func watch(ctx context.Context, d *directory, argv ...string) (*watchdog, error) {
	stdin, orders, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", argv[0], err)
	}
	removable := ""
	if d.temporary {
		removable = d.path
	}
	args := append([]string{"-c", watchdogScript, "localpg", removable}, argv...)
	cmd := exec.CommandContext(context.WithoutCancel(ctx), "/bin/sh", args...)
	cmd.Dir = "/"
	cmd.Env = environment()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, d.log, d.log
	cmd.ExtraFiles = []*os.File{d.lock}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: d.owner.credential}
	err = cmd.Start()
	_ = stdin.Close()
	if err != nil {
		_ = orders.Close()
		return nil, fmt.Errorf("watch %s as %s: %w", argv[0], d.owner.name, err)
	}

	w := &watchdog{orders: orders, done: make(chan struct{})}
	go func() {
		defer close(w.done)
		w.err = cmd.Wait()
	}()
	return w, nil
}

// stop gives the order, once, and waits until command and shell have ended.
func (w *watchdog) stop(ctx context.Context, order string) error {
	w.stopped.Do(func() {
		// An error means that there is no process left to stop.
		_, _ = io.WriteString(w.orders, order+"\n")
		_ = w.orders.Close()
	})
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// result waits for the command to end by itself and returns how it did.
func (w *watchdog) result() error {
	<-w.done
	if w.err == nil {
		return fmt.Errorf("exit status 0")
	}
	return w.err
}

// environment removes variables that would configure the server (PGPORT, LC_MESSAGES) and
// the secrets of this process. The log is read for known messages, hence LC_ALL.
func environment() []string {
	env := []string{"LC_ALL=C"}
	for _, name := range []string{"PATH", "LD_LIBRARY_PATH", "TZ"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

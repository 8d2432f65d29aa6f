package localpg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// acquire locks the directory. The watchdog and the server inherit the lock, so
// it ends with the last of them: after a kill -9 of its starter a server takes
// a moment to shut down, for which acquire waits. If the starter is alive, the
// directory is in use, which is an error at once.
func (d *directory) acquire(ctx context.Context) error {
	f, err := d.open("lock", os.O_RDWR|os.O_CREATE)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	retry := time.NewTicker(50 * time.Millisecond)
	defer retry.Stop()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			d.lock = f
			return errors.Join(f.Truncate(0), writePID(f))
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return errors.Join(fmt.Errorf("lock %s: %w", f.Name(), err), f.Close())
		}
		holder := firstNumber(f.Name())
		if alive(holder) {
			return errors.Join(fmt.Errorf("directory %s is in use by process %d; stop it, or use another directory", d.path, holder), f.Close())
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("directory %s is in use by a server, process %d, that its starter has left: %w",
				d.path, firstNumber(filepath.Join(d.data(), "postmaster.pid")), ctx.Err()), f.Close())
		case <-retry.C:
		}
	}
}

func writePID(f *os.File) error {
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// firstNumber returns the number on the first line of a file, 0 when there is none.
func firstNumber(path string) int {
	b, _ := os.ReadFile(path)
	line, _, _ := strings.Cut(string(b), "\n")
	number, _ := strconv.Atoi(strings.TrimSpace(line))
	return number
}

func alive(pid int) bool {
	if pid <= 0 {
		return false
	}
	err := syscall.Kill(pid, 0)
	return err == nil || errors.Is(err, syscall.EPERM)
}

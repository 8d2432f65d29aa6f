package localpg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// directory is the directory of one cluster:
//
//	data/       the cluster; data.new while initdb fills it
//	run/        the unix socket
//	lock        locked while a server or its starter lives; names the starter
//	password    of the superuser
//	port        the last one used
//	server.log  of the last start
//	temporary   marks a directory that may be removed
//	keep        signals the watchdog that we still need a temporary one
type directory struct {
	path      string
	temporary bool
	owner     account
	lock      *os.File
	log       *os.File
	finalLog  string // set by close
}

// ErrCannotBeEntered is returned for a directory that the server's account cannot
// enter, such as one of root's.
var ErrCannotBeEntered = errors.New("cannot be entered")

// openDirectory creates the directory if necessary and locks it.
func openDirectory(ctx context.Context, path string, owner account) (_ *directory, err error) {
	d := &directory{path: path, owner: owner, temporary: path == ""}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
		}
	}()
	if err := d.make(ctx); err != nil {
		return nil, err
	}
	if !owner.can(ctx, d.path, "-x") {
		return nil, fmt.Errorf("directory %s %w by %s, who runs the server", d.path, ErrCannotBeEntered, owner.name)
	}
	if err := d.acquire(ctx); err != nil {
		return nil, err
	}
	if d.log, err = d.open("server.log", os.O_RDWR|os.O_CREATE|os.O_TRUNC|os.O_APPEND); err != nil {
		return nil, err
	}
	run := filepath.Join(d.path, "run")
	if err := os.Mkdir(run, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	if err := owner.give(run); err != nil {
		return nil, err
	}
	return d, d.keep()
}

func (d *directory) make(ctx context.Context) error {
	if !d.temporary {
		path, err := filepath.Abs(d.path)
		if err != nil {
			return err
		}
		d.path = path
		mode := os.FileMode(0o700)
		if d.owner.credential != nil {
			mode = 0o711 // stays root's, and the server has to pass through it
		}
		return os.MkdirAll(path, mode)
	}

	// TMPDIR may be in a home directory that only root or another user can enter.
	parent, err := filepath.Abs(os.TempDir())
	if err != nil || !d.owner.can(ctx, parent, "-x", "-w") {
		parent = "/tmp"
	}
	path, err := os.MkdirTemp(parent, "trainingmonkey-pg-")
	if err != nil {
		return err
	}
	d.path = path
	// It is marked before its owner changes, while only this process can do so.
	if err := os.WriteFile(filepath.Join(path, "temporary"), nil, 0o600); err != nil {
		return err
	}
	return d.owner.give(path)
}

// open does not follow links, because the directory may belong to another user
// while this process runs as root.
func (d *directory) open(name string, flag int) (*os.File, error) {
	return os.OpenFile(filepath.Join(d.path, name), flag|syscall.O_NOFOLLOW, 0o600)
}

// keep stops the watchdog from removing the directory when its command ends, because
// another command follows. The watchdog still removes it if this process dies.
func (d *directory) keep() error {
	if !d.temporary {
		return nil
	}
	f, err := d.open("keep", os.O_CREATE|os.O_WRONLY)
	if err != nil {
		return err
	}
	return f.Close()
}

// release undoes keep.
func (d *directory) release() error {
	if !d.temporary {
		return nil
	}
	return os.Remove(filepath.Join(d.path, "keep"))
}

// close unlocks the directory, and removes it if it is temporary. No process
// may use it any more.
func (d *directory) close() error {
	var errs []error
	if d.log != nil {
		d.finalLog = d.logSince(0)
		errs = append(errs, d.log.Close())
		d.log = nil
	}
	if d.temporary && d.path != "" {
		errs = append(errs, os.RemoveAll(d.path))
	}
	if d.lock != nil {
		// This process no longer holds the lock, but after a crash the server's last
		// processes may hold it for a moment.
		errs = append(errs, d.lock.Truncate(0), d.lock.Close())
		d.lock = nil
	}
	return errors.Join(errs...)
}

func (d *directory) data() string { return filepath.Join(d.path, "data") }

// sockets returns the directory for the unix socket, or "" if its name is too
// long for a socket address (104 bytes on macOS) or would not be a single word
// of the setting, which is a list.
func (d *directory) sockets() string {
	run := filepath.Join(d.path, "run")
	if len(run+"/.s.PGSQL.65535") > 103 || strings.ContainsAny(run, ` ,"'\`) {
		return ""
	}
	return run
}

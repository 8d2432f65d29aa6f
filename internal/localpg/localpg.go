// Package localpg runs a private PostgreSQL server for the demo, for
// development and for tests.
//
// Rule: a server never outlives the process that started it, however that process ends, and
// never shares a directory, a port or a password with another one. So every process is
// started by the watchdog, and servers listen only on the loopback interface.
package localpg

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"sync"
	"time"
)

// superuser owns every cluster that this package makes.
const superuser = "trainingmonkey"

// startTimeout bounds Start and Restart when their context does not. Fetching
// binaries is not counted.
const startTimeout = 60 * time.Second

// Options say where a server keeps its data, and how it is configured. The zero value is a
// server in a temporary directory with PostgreSQL's defaults, which are durable.
type Options struct {
	// Dir is the directory of the cluster, its password and its last port,
	// which stay after the server stops. If empty, it is a new temporary
	// directory, which is removed when the server stops or the process ends.
	Dir string

	// Settings are configuration parameters such as "fsync": "off". They apply to this
	// start only. Those of its address (port, interfaces) are ignored.
	Settings map[string]string

	// Logger logs operations that take unexpectedly long. Nil discards.
	Logger *slog.Logger
}

// Server is one running PostgreSQL server. Its methods may be called concurrently.
type Server struct {
	dir      *directory
	bin      string // directory of initdb and postgres
	settings map[string]string
	password string
	port     int // fixed once Start has returned

	mu      sync.Mutex // serialises Stop and Restart
	watch   *watchdog  // nil if the last Restart failed
	stopped bool
}

// Start starts a server and returns once it accepts connections. If it fails, the error
// contains the end of the server's log, and no process is left running. LOCALPG_VERSION in
// the environment selects the major version of PostgreSQL; otherwise a new cluster gets the
// newest on the machine. Cancelling ctx afterwards does not stop the server; Stop does.
func Start(ctx context.Context, o Options) (*Server, error) {
	s, err := start(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("start local postgres: %w", err)
	}
	return s, nil
}

func start(ctx context.Context, o Options) (_ *Server, err error) {
	logger := cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	owner, err := serverAccount()
	if err != nil {
		return nil, err
	}
	dir, err := openDirectory(ctx, o.Dir, owner)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, dir.close())
		}
	}()
	major, err := dir.clusterMajor()
	if err != nil {
		return nil, err
	}
	wanted, err := wantedMajor()
	if err != nil {
		return nil, err
	}
	if major != 0 && wanted != 0 && major != wanted {
		return nil, fmt.Errorf("%s asks for PostgreSQL %d, and the cluster in %s is one of %d", versionVariable, wanted, dir.path, major)
	}
	bin, err := locateBinaries(ctx, owner, max(major, wanted), logger)
	if err != nil {
		return nil, err
	}

	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	s := &Server{dir: dir, bin: bin, settings: o.Settings}
	if s.password, err = dir.password(); err != nil {
		return nil, err
	}
	if major == 0 {
		if err := dir.initialise(ctx, bin); err != nil {
			return nil, err
		}
	}
	if err := s.boot(ctx); err != nil {
		return nil, err
	}
	return s, dir.release()
}

// URL returns the address of a database on this server, with the password.
// An empty name means the database postgres, which always exists.
func (s *Server) URL(database string) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(superuser, s.password),
		Host:     net.JoinHostPort(loopback, strconv.Itoa(s.port)),
		Path:     "/" + cmp.Or(database, "postgres"),
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// Stop disconnects the clients, shuts the server down, and returns when it has ended; a
// temporary directory is then removed too. A second Stop does nothing. If ctx ends first,
// the shutdown continues, and Stop may be called again to wait for it.
func (s *Server) Stop(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return nil
	}
	if s.watch != nil {
		if err := s.watch.stop(ctx, fast); err != nil {
			return fmt.Errorf("stop local postgres in %s: %w", s.dir.path, err)
		}
	}
	s.stopped = true
	if err := s.dir.close(); err != nil {
		return fmt.Errorf("stop local postgres in %s: %w", s.dir.path, err)
	}
	return nil
}

// Restart stops the server and starts it again with the same data, port and
// password. An immediate restart is a crash: the server quits without a
// checkpoint and recovers from its log. After an error the server is down, and
// Restart may be called again. A server that died by itself can be restarted
// only if it has a Dir, because a temporary one is removed with it.
func (s *Server) Restart(ctx context.Context, immediate bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.restart(ctx, immediate); err != nil {
		return fmt.Errorf("restart local postgres in %s: %w", s.dir.path, err)
	}
	return nil
}

func (s *Server) restart(ctx context.Context, immediate bool) error {
	if s.stopped {
		return errors.New("it has been stopped")
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	how := fast
	if immediate {
		how = quit
	}
	if s.watch != nil {
		if err := s.dir.keep(); err != nil {
			return err
		}
		if err := s.watch.stop(ctx, how); err != nil {
			return err
		}
		s.watch = nil
	}
	if err := s.run(ctx); err != nil {
		return err
	}
	return s.dir.release()
}

// LogTail returns the last lines of the server's log, also after Stop.
func (s *Server) LogTail() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dir.logSince(0)
}

package localpg

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// loopback is the only address a server listens on.
const loopback = "127.0.0.1"

// Ports are chosen below every system's ephemeral range. Within it, a client
// that retries during a restart could get the server's port as its own source
// port, connect to itself, and so keep the server from starting.
const (
	firstPort = 15000
	lastPort  = 29999
)

// errPortTaken says that another process took the port between our check and
// the server's start.
var errPortTaken = errors.New("port is taken")

// boot runs the server on its previous port, so that an address printed earlier
// stays valid, or else on any free one.
func (s *Server) boot(ctx context.Context) error {
	port := s.dir.lastPort()
	for range 20 {
		if !portFree(ctx, port) {
			port = firstPort + rand.N(lastPort-firstPort+1)
			continue
		}
		s.port = port
		err := s.run(ctx)
		if errors.Is(err, errPortTaken) {
			port = 0
			continue
		}
		if err != nil {
			return err
		}
		return s.dir.rememberPort(port)
	}
	return fmt.Errorf("find a free port between %d and %d", firstPort, lastPort)
}

func portFree(ctx context.Context, port int) bool {
	if port == 0 {
		return false
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", net.JoinHostPort(loopback, strconv.Itoa(port)))
	if err != nil {
		return false
	}
	return l.Close() == nil
}

// run starts the server on its port and waits until it accepts connections. On
// an error it stops the server.
func (s *Server) run(ctx context.Context) error {
	logStart := s.dir.logSize()
	w, err := watch(ctx, s.dir, s.command()...)
	if err != nil {
		return err
	}
	s.watch = w
	if err := s.waitReady(ctx); err != nil {
		s.watch = nil
		// This returns, because the watchdog kills a server that does not end by itself.
		_ = w.stop(context.WithoutCancel(ctx), quit)
		tail := s.dir.logSince(logStart)
		if strings.Contains(tail, "could not create any TCP/IP sockets") {
			return fmt.Errorf("%w: %d", errPortTaken, s.port)
		}
		return fmt.Errorf("%w; its log ends:\n%s", err, tail)
	}
	return nil
}

// command returns the command line. Settings are arguments, not in postgresql.conf, so that
// those of one start do not stay in a directory that persists.
func (s *Server) command() []string {
	argv := []string{filepath.Join(s.bin, "postgres"), "-D", s.dir.data()}
	for _, name := range slices.Sorted(maps.Keys(s.settings)) {
		argv = append(argv, "-c", name+"="+s.settings[name])
	}
	return append(argv,
		"-c", "port="+strconv.Itoa(s.port),
		"-c", "listen_addresses="+loopback,
		"-c", "unix_socket_directories="+s.dir.sockets(),
	)
}

// waitReady returns once a client can log in. The password is this server's
// alone, so another server on the same port is never mistaken for it.
func (s *Server) waitReady(ctx context.Context) error {
	config, err := pgx.ParseConfig(s.URL(""))
	if err != nil {
		return fmt.Errorf("parse own url: %w", err)
	}
	config.ConnectTimeout = 2 * time.Second
	// The pause grows, because every attempt leaves a line in the log, whose
	// end an error shows.
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, 500*time.Millisecond) {
		conn, err := pgx.ConnectConfig(ctx, config)
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-s.watch.done:
			return fmt.Errorf("the server ended: %w", s.watch.result())
		case <-ctx.Done():
			return fmt.Errorf("wait for the server: %w (%w)", ctx.Err(), err)
		case <-time.After(pause):
		}
	}
}

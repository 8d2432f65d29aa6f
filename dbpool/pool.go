// Package dbpool owns the one pgxpool of a process: how it is opened, its number of
// connections, its timeouts, and the retries of transactions after transient errors.
//
// Rule: no code acquires a connection while it has one, and the pool never grows beyond
// Options.MaxConns. Under load callers wait, then fail with a timeout; they never deadlock.
package dbpool

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Options say which database to open, and the limits of its sessions.
type Options struct {
	// URL is a connection URL or key=value string. If empty, the PG*
	// environment variables apply, as for psql.
	URL             string
	ApplicationName string // shown in pg_stat_activity
	MaxConns        int32  // of the pool; connections that listen come on top

	ConnectTimeout           time.Duration // one attempt to connect, unless the URL sets it
	AcquireTimeout           time.Duration // waiting for a free connection
	StatementTimeout         time.Duration // one statement, enforced by the server
	LockTimeout              time.Duration // one wait for a lock, enforced by the server
	IdleInTransactionTimeout time.Duration // the max pause within a transaction, enforced by the server

	// Tracer, if not nil, traces statements. If it implements pgx.ConnectTracer
	// or pgxpool.AcquireTracer, it also traces connecting or acquiring.
	Tracer pgx.QueryTracer
}

// ErrAddress is returned for a URL or key=value string that cannot be parsed.
var ErrAddress = errors.New("the database's address is not valid")

// Pool is a pgxpool with bounded acquisition. The embedded pool goes to River.
type Pool struct {
	*pgxpool.Pool
	acquireTimeout time.Duration
	settings       map[string]string // of its sessions
	startup        map[string]string // what the URL sets
}

// Open opens the pool once the server has answered. Errors name the
// server but never the password.
func Open(ctx context.Context, o Options) (*Pool, error) {
	config, settings, err := o.poolConfig()
	if err != nil {
		return nil, err
	}
	firstCtx, cancel := context.WithTimeout(ctx, config.PingTimeout)
	defer cancel()
	path, err := searchPath(firstCtx, config.ConnConfig)
	if err != nil {
		switch {
		case ctx.Err() != nil:
			err = ctx.Err() // interrupted, whatever the network calls it
		case firstCtx.Err() != nil:
			err = &connectError{noAnswer(config.PingTimeout), err}
		}
		return nil, fmt.Errorf("connect to %s: %w", Target(config.ConnConfig), withoutSecrets(Concise(err), config.ConnConfig))
	}
	settings["search_path"] = path
	config.ConnConfig.AfterConnect = Set(settings)
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open database pool: %w", err)
	}
	return &Pool{Pool: pool, acquireTimeout: o.AcquireTimeout, settings: settings, startup: config.ConnConfig.RuntimeParams}, nil
}

// searchPathQuery reads the search_path of the role or the database, which SET does not
// change: behind a pooler the session may have been another client's.
const searchPathQuery = `
-- name: search_path
SELECT reset_val FROM pg_settings WHERE name = 'search_path'`

// searchPath connects and returns the search_path, by which the application's tables are
// found for as long as the pool is open: that of the URL, otherwise the role's.
func searchPath(ctx context.Context, c *pgx.ConnConfig) (path string, err error) {
	conn, err := pgx.ConnectConfig(ctx, c)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	for name, value := range c.RuntimeParams {
		if strings.EqualFold(name, "search_path") {
			return value, nil
		}
	}
	err = conn.QueryRow(ctx, searchPathQuery, pgx.QueryExecModeExec).Scan(&path)
	return path, err
}

// CloseWithin closes the pool. It returns when all connections have been returned and
// closed, or after d; connections still in use then end with the process.
func (p *Pool) CloseWithin(d time.Duration) {
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		p.Close()
	}()
	select {
	case <-closed:
	case <-time.After(d):
	}
}

// poolConfig parses the URL and applies the options. Limits in the URL
// (?statement_timeout=…) take precedence over the options; the settings in meanings take
// precedence over the URL. It also returns the settings of each session.
func (o Options) poolConfig() (config *pgxpool.Config, settings map[string]string, err error) {
	config, err = pgxpool.ParseConfig(o.URL)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w; expected postgres://user:password@host:port/database", ErrAddress, redactParseError(err))
	}
	config.MaxConns = o.MaxConns
	config.MinIdleConns = min(2, o.MaxConns)
	config.ConnConfig.ConnectTimeout = cmp.Or(config.ConnConfig.ConnectTimeout, o.ConnectTimeout)
	config.PingTimeout = config.ConnConfig.ConnectTimeout
	config.ConnConfig.DialFunc = dialWatchful(o.StatementTimeout)
	config.ConnConfig.Tracer = o.Tracer
	params := config.ConnConfig.RuntimeParams
	if params["application_name"] == "" {
		params["application_name"] = o.ApplicationName
	}
	settings = o.limits()
	for name := range params {
		maps.DeleteFunc(settings, func(ours, _ string) bool { return strings.EqualFold(ours, name) })
	}
	maps.Copy(settings, meanings)
	config.ConnConfig.AfterConnect = Set(settings)
	config.ConnConfig.OnPgError = closeUseless(config.ConnConfig.OnPgError)
	if config.ConnConfig.ValidateConnect == nil && severalServers(&config.ConnConfig.Config) {
		config.ConnConfig.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	return config, settings, nil
}

// closeUseless closes connections on which nothing will succeed: to a server that
// has become a standby, because only a new connection finds the primary, and
// those whose prepared statements no longer fit a changed table.
func closeUseless(otherwise pgconn.PgErrorHandler) pgconn.PgErrorHandler {
	return func(conn *pgconn.PgConn, err *pgconn.PgError) bool {
		const readOnly, stalePlan = "25006", "RevalidateCachedQuery"
		if err.Code == readOnly || err.Routine == stalePlan {
			return false
		}
		return otherwise(conn, err)
	}
}

// severalServers reports whether the address names several servers, of which the primary
// has to be found. A fallback to the same server only differs in encryption.
func severalServers(c *pgconn.Config) bool {
	return slices.ContainsFunc(c.Fallbacks, func(f *pgconn.FallbackConfig) bool { return f.Host != c.Host || f.Port != c.Port })
}

// limits returns the timeouts that the worker relies on, regardless of what is
// configured for the server, database or role.
func (o Options) limits() map[string]string {
	const keepalives = 3
	idle := time.Duration(math.Ceil(o.IdleInTransactionTimeout.Seconds())) * time.Second
	return map[string]string{
		"statement_timeout":                   milliseconds(o.StatementTimeout),
		"lock_timeout":                        milliseconds(o.LockTimeout),
		"idle_in_transaction_session_timeout": milliseconds(o.IdleInTransactionTimeout),
		// For a peer that vanished in the middle of a message: the server waits for
		// the rest, and no other timeout applies.
		"tcp_keepalives_idle":     strconv.Itoa(int(idle.Seconds())),
		"tcp_keepalives_interval": "1",
		"tcp_keepalives_count":    strconv.Itoa(keepalives),
		// For a peer that is alive and does not read, such as a suspended process that
		// gets notifications: until the server closes the connection, the notifications
		// stay in the cluster's queue and hold back vacuum. Linux uses this in place of
		// the count above, so both give the same time.
		"tcp_user_timeout":     milliseconds(idle + keepalives*time.Second),
		"idle_session_timeout": "0",   // it would end the connection that listens
		"transaction_timeout":  "0",   // transactions have deadlines, and lanes fit their size to them
		"jit":                  "off", // compiling a batch's statements takes longer than running them
	}
}

// meanings are the settings on which the correctness of the statements depends.
var meanings = map[string]string{
	"default_transaction_isolation": "read committed", // a statement after a lock sees what was committed before
	"client_encoding":               "UTF8",           // Go's strings are UTF-8
	"DateStyle":                     "ISO, MDY",
	"timezone":                      "UTC",
}

// Set returns the function that sets parameters of a new connection, but for those that
// its server does not have. They are not sent with the startup message, because poolers
// refuse most of them there.
func Set(settings map[string]string) pgconn.AfterConnectFunc {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&b, "SELECT set_config('%[1]s', %[2]s, false) WHERE current_setting('%[1]s', true) IS NOT NULL;", name, literal(settings[name]))
	}
	return func(ctx context.Context, conn *pgconn.PgConn) error {
		_, err := conn.Exec(ctx, b.String()).ReadAll()
		return err
	}
}

// BeginQuery returns the statements that begin a transaction with other settings and, where
// these have none, with the session's isolation, timeouts and search_path: behind a pooler
// in transaction mode it may run in a session of another client.
func (p *Pool) BeginQuery(other map[string]string) string {
	return p.beginQuery(pgx.TxOptions{}, other)
}

func (p *Pool) beginQuery(o pgx.TxOptions, other map[string]string) string {
	local := maps.Clone(other)
	if local == nil {
		local = map[string]string{}
	}
	for _, name := range []string{"statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "search_path"} {
		// What the URL says was sent with the startup message, which a pooler may ignore.
		value := cmp.Or(p.settings[name], p.startup[name])
		if value != "" && local[name] == "" {
			local[name] = value
		}
	}
	var set []string
	for _, name := range slices.Sorted(maps.Keys(local)) {
		set = append(set, fmt.Sprintf("set_config('%s', %s, true)", name, literal(local[name])))
	}
	return fmt.Sprintf("begin isolation level %s %s %s; SELECT %s", cmp.Or(o.IsoLevel, pgx.ReadCommitted), o.AccessMode, o.DeferrableMode, strings.Join(set, ", "))
}

// literal quotes a value for SQL, whatever standard_conforming_strings is.
func literal(value string) string {
	return "E'" + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(value) + "'"
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// Target names the server and database of a configuration without its secrets. If no
// database is named, it is the one named after the user.
func Target(c *pgx.ConnConfig) string {
	database := cmp.Or(c.Database, c.User)
	if strings.HasPrefix(c.Host, "/") {
		return fmt.Sprintf("database %q at socket %s as %s", database, c.Host, c.User)
	}
	return fmt.Sprintf("database %q at %s:%d as %s", database, c.Host, c.Port, c.User)
}

// redactParseError keeps the reason and drops the connection string, in which
// pgconn masks the password only where it recognizes it.
func redactParseError(err error) error {
	if cause := errors.Unwrap(err); cause != nil {
		return errors.New(strings.ReplaceAll(cause.Error(), "\n", " "))
	}
	return errors.New("it cannot be parsed")
}

// withoutSecrets masks the password if an error's text contains it.
func withoutSecrets(err error, c *pgx.ConnConfig) error {
	if c.Password == "" || !strings.Contains(err.Error(), c.Password) {
		return err
	}
	return errors.New(strings.ReplaceAll(err.Error(), c.Password, "xxxxx"))
}

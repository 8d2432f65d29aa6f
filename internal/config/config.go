// Package config is every setting of the worker: defaults, then config.yaml
// decoded strictly over them, then the environment. It is validated once and
// passed on as values.
//
// Rule: a setting that cannot be used is an error that names file, line and
// key. Nothing is guessed, and no secret is ever read from the file: the
// database's address comes from DATABASE_URL or the PG* variables, the keys and
// the client's secret from variables of their own.
package config

import (
	"fmt"
	"strings"
	"time"

	"github.com/trainingmonkey/worker/internal/tokens"
)

// Config holds every setting. Default has the values of config.yaml.
type Config struct {
	Database   Database
	River      River
	Batching   Batching
	ACWR       ACWR
	Backfill   Backfill
	Tokens     Tokens
	Operations Operations
	Shutdown   Shutdown
	Log        Log

	// DatabaseURL is the environment's DATABASE_URL. Empty: the PG* variables
	// decide. It is a secret.
	DatabaseURL string

	// TokenKeys are the environment's TMWORKER_TOKEN_KEYS; nil: tokens are not
	// worked on. They are secrets.
	TokenKeys *tokens.Keyring
	// TokensClientSecret is the environment's TMWORKER_TOKENS_CLIENT_SECRET.
	TokensClientSecret string
}

// Database limits the one pool of a process.
type Database struct {
	MaxConns                 int
	ApplicationReserve       int
	ConnectTimeout           time.Duration
	AcquireTimeout           time.Duration
	StatementTimeout         time.Duration
	LockTimeout              time.Duration
	IdleInTransactionTimeout time.Duration
}

// River configures the queue client.
type River struct {
	Schema             string
	PollOnly           bool
	FetchPollInterval  time.Duration
	CompletedRetention time.Duration
	JobStatusRetention time.Duration
}

// Batching tunes the transactions of the lanes.
type Batching struct {
	MaxJobs            int
	MaxActivities      int
	BulkActivities     int
	Loops              int
	TransactionTimeout time.Duration
}

// ACWR says how results are computed.
type ACWR struct {
	Write          string
	RolloutPercent int
	Rounding       string
}

// Backfill limits the resources that backfills use in a process.
type Backfill struct {
	Workers   int
	ChunkRows int
}

// Operations says where the operator's pages are. User and Password come from
// the environment alone.
type Operations struct {
	Listen         string
	SlowQuery      time.Duration
	User, Password string
}

// Tokens says how tokens are saved, and how they are refreshed at the provider.
type Tokens struct {
	TokenURL       string
	ClientID       string
	RefreshEvery   time.Duration
	RefreshBefore  time.Duration
	Workers        int
	HTTPTimeout    time.Duration
	Lease          time.Duration
	LimitQuarter   int
	LimitDay       int
	SaveBatch      int
	SaveLinger     time.Duration
	AuditRetention time.Duration // 0: for ever
}

// Shutdown bounds the time between SIGTERM and the end of the process.
type Shutdown struct {
	Grace time.Duration
}

// Log says what is logged, and how.
type Log struct {
	Level  string
	Format string
}

// Default returns the settings of the config.yaml that ships.
func Default() Config {
	return Config{
		Database: Database{
			MaxConns:                 25,
			ApplicationReserve:       2,
			ConnectTimeout:           5 * time.Second,
			AcquireTimeout:           5 * time.Second,
			StatementTimeout:         60 * time.Second,
			LockTimeout:              5 * time.Second,
			IdleInTransactionTimeout: 5 * time.Second,
		},
		River: River{
			Schema:             "river",
			FetchPollInterval:  time.Second,
			CompletedRetention: time.Hour,
			JobStatusRetention: 7 * 24 * time.Hour,
		},
		Batching: Batching{
			MaxJobs:            1500,
			MaxActivities:      3000,
			BulkActivities:     500,
			Loops:              2,
			TransactionTimeout: 8 * time.Second,
		},
		ACWR:     ACWR{Write: "on", RolloutPercent: 100, Rounding: "none"},
		Backfill: Backfill{Workers: 2, ChunkRows: 5000},
		Operations: Operations{
			Listen:    "127.0.0.1:8080",
			SlowQuery: 500 * time.Millisecond,
		},
		Tokens: Tokens{
			TokenURL:       "https://www.strava.com/oauth/token",
			RefreshEvery:   5 * time.Minute,
			RefreshBefore:  30 * time.Minute,
			Workers:        4,
			HTTPTimeout:    10 * time.Second,
			Lease:          time.Minute,
			LimitQuarter:   100,
			LimitDay:       1000,
			SaveBatch:      100,
			AuditRetention: 730 * 24 * time.Hour,
		},
		Shutdown: Shutdown{Grace: 25 * time.Second},
		Log:      Log{Level: "info", Format: "auto"},
	}
}

// settings lists every key with the variable that it sets and its limits.
func (c *Config) settings() []setting {
	return []setting{
		{"database.max_conns", count(&c.Database.MaxConns, 4, 1000)},
		{"database.application_reserve", count(&c.Database.ApplicationReserve, 2, 100)},
		{"database.connect_timeout", duration(&c.Database.ConnectTimeout, 100*time.Millisecond, 5*time.Minute)},
		{"database.acquire_timeout", duration(&c.Database.AcquireTimeout, 100*time.Millisecond, 5*time.Minute)},
		{"database.statement_timeout", duration(&c.Database.StatementTimeout, time.Second, time.Hour)},
		{"database.lock_timeout", duration(&c.Database.LockTimeout, 100*time.Millisecond, 5*time.Minute)},
		{"database.idle_in_transaction_timeout", duration(&c.Database.IdleInTransactionTimeout, time.Second, time.Hour)},
		{"river.schema", schemaName(&c.River.Schema)},
		{"river.poll_only", boolean(&c.River.PollOnly)},
		{"river.fetch_poll_interval", duration(&c.River.FetchPollInterval, 10*time.Millisecond, time.Hour)},
		{"river.completed_retention", zeroOr(&c.River.CompletedRetention, duration(&c.River.CompletedRetention, time.Minute, 90*24*time.Hour))},
		{"river.job_status_retention", duration(&c.River.JobStatusRetention, time.Minute, 365*24*time.Hour)},
		{"batching.max_jobs", count(&c.Batching.MaxJobs, 1, 5000)},
		{"batching.max_activities", count(&c.Batching.MaxActivities, 1, 50_000)},
		{"batching.bulk_activities", count(&c.Batching.BulkActivities, 1, 50_000)},
		{"batching.loops", count(&c.Batching.Loops, 1, 64)},
		{"batching.transaction_timeout", duration(&c.Batching.TransactionTimeout, 100*time.Millisecond, time.Minute)},
		{"acwr.write", choice(&c.ACWR.Write, "off", "compare", "on")},
		{"acwr.rollout_percent", count(&c.ACWR.RolloutPercent, 0, 100)},
		{"acwr.rounding", choice(&c.ACWR.Rounding, "none", "app")},
		{"backfill.workers", count(&c.Backfill.Workers, 1, 64)},
		{"backfill.chunk_rows", count(&c.Backfill.ChunkRows, 1, 100_000)},
		{"operations.listen", address(&c.Operations.Listen)},
		{"operations.slow_query", duration(&c.Operations.SlowQuery, time.Millisecond, time.Hour)},
		{"tokens.token_url", webAddress(&c.Tokens.TokenURL)},
		{"tokens.client_id", line(&c.Tokens.ClientID)},
		{"tokens.refresh_every", duration(&c.Tokens.RefreshEvery, time.Second, 24*time.Hour)},
		{"tokens.refresh_before", duration(&c.Tokens.RefreshBefore, time.Second, 30*24*time.Hour)},
		{"tokens.workers", count(&c.Tokens.Workers, 1, 64)},
		{"tokens.http_timeout", duration(&c.Tokens.HTTPTimeout, 100*time.Millisecond, time.Minute)},
		{"tokens.lease", duration(&c.Tokens.Lease, time.Second, time.Hour)},
		{"tokens.limit_quarter", count(&c.Tokens.LimitQuarter, 1, 1_000_000)},
		{"tokens.limit_day", count(&c.Tokens.LimitDay, 1, 100_000_000)},
		{"tokens.save_batch", count(&c.Tokens.SaveBatch, 1, 5000)},
		{"tokens.save_linger", duration(&c.Tokens.SaveLinger, 0, time.Minute)},
		{"tokens.audit_retention", duration(&c.Tokens.AuditRetention, 0, 100*365*24*time.Hour)},
		{"shutdown.grace", duration(&c.Shutdown.Grace, time.Second, time.Hour)},
		{"log.level", choice(&c.Log.Level, "debug", "info", "warn", "error")},
		{"log.format", choice(&c.Log.Format, "auto", "text", "json")},
	}
}

// SoftStop is how long jobs may go on after SIGTERM before their contexts end:
// the grace period less one transaction that is then under way, and deregistering.
func (c *Config) SoftStop() time.Duration {
	return c.Shutdown.Grace - c.Batching.TransactionTimeout - 2*time.Second
}

// MissingForTokens says what has to be set before tokens can be refreshed, or
// is empty.
func (c *Config) MissingForTokens() string {
	var missing []string
	for _, needed := range []struct {
		is   bool
		what string
	}{
		{c.TokenKeys != nil, tokenKeysVariable},
		{c.TokensClientSecret != "", clientSecretVariable},
		{c.Tokens.ClientID != "", "tokens.client_id"},
	} {
		if !needed.is {
			missing = append(missing, needed.what)
		}
	}
	return strings.Join(missing, ", ")
}

// RefreshesTokens reports whether this process refreshes tokens.
func (c *Config) RefreshesTokens() bool { return c.MissingForTokens() == "" }

// validate checks settings that depend on each other.
func (c *Config) validate() error {
	if c.SoftStop() < time.Second {
		return fmt.Errorf("shutdown.grace (%v) must exceed batching.transaction_timeout (%v) by at least 3s: a transaction under way has to end within it",
			c.Shutdown.Grace, c.Batching.TransactionTimeout)
	}
	if c.RefreshesTokens() {
		if c.Tokens.Lease < 2*c.Tokens.HTTPTimeout {
			return fmt.Errorf("tokens.lease (%v) must be at least twice tokens.http_timeout (%v): the answer has to be stored while nobody else may ask",
				c.Tokens.Lease, c.Tokens.HTTPTimeout)
		}
		if c.SoftStop() < c.Tokens.HTTPTimeout {
			return fmt.Errorf("shutdown.grace (%v) must exceed tokens.http_timeout (%v) by batching.transaction_timeout (%v) and 2s: who is being refreshed at SIGTERM has to be stored within it",
				c.Shutdown.Grace, c.Tokens.HTTPTimeout, c.Batching.TransactionTimeout)
		}
	}
	return nil
}

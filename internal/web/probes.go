package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/queue"
	"github.com/trainingmonkey/worker/migrations"
	"github.com/trainingmonkey/worker/workers"
)

// healthz shows that the process is alive: it always answers 200.
func healthz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = fmt.Fprintln(w, `{"alive":true}`)
}

// Reason is why a process is not ready.
type Reason struct {
	Check  string `json:"check"` // draining, database, writes, migrations, claiming or checks
	Reason string `json:"reason"`
}

// databaseCheck is the check of whether the database answers.
const databaseCheck = "database"

const (
	checkInterval = time.Second
	checkTimeout  = 3 * time.Second
	// migrationsInterval is the pause between checks while migrations are up to date.
	migrationsInterval = 5 * time.Second
	// checkedWithin is the max age of a result.
	checkedWithin = checkInterval + 2*checkTimeout
)

// Readiness checks periodically whether a process can do its work, so that probes
// cost nothing.
type Readiness struct {
	pool    *dbpool.Pool
	schema  string
	service *workers.Service
	logger  *slog.Logger

	migrated time.Time // when the migrations were last up to date

	mu      sync.Mutex
	reasons []Reason
	at      time.Time
}

// NewReadiness returns a Readiness that is not ready before Run.
func NewReadiness(pool *dbpool.Pool, riverSchema string, service *workers.Service, logger *slog.Logger) *Readiness {
	return &Readiness{
		pool: pool, schema: riverSchema, service: service, logger: logger, at: time.Now(),
		reasons: []Reason{{"checks", "nothing was checked yet"}},
	}
}

// Run checks until ctx ends.
func (r *Readiness) Run(ctx context.Context) {
	ticker := time.NewTicker(checkInterval)
	defer ticker.Stop()
	for {
		reasons, cause := r.check(ctx)
		if ctx.Err() != nil {
			return
		}
		r.keep(ctx, reasons, cause)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// keep stores the result and logs changes between ready and not ready.
func (r *Readiness) keep(ctx context.Context, reasons []Reason, cause error) {
	r.mu.Lock()
	was := len(r.reasons) == 0
	r.reasons, r.at = reasons, time.Now()
	r.mu.Unlock()
	switch is := len(reasons) == 0; {
	case is && !was:
		r.logger.InfoContext(ctx, "ready")
	case !is && was:
		var texts []string
		for _, reason := range reasons {
			texts = append(texts, reason.Reason)
		}
		attributes := []any{slog.String("reasons", strings.Join(texts, "; "))}
		if cause != nil {
			attributes = append(attributes, slog.String("error", cause.Error()))
		}
		r.logger.WarnContext(ctx, "not ready", attributes...)
	}
}

// check runs all checks. The reasons are public. The only messages of the database in them
// are why a lane is stalled or the state of the migrations cannot be read, which name tables,
// columns and permissions; others are only logged.
func (r *Readiness) check(ctx context.Context) (reasons []Reason, cause error) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	var paused []string // queues on which no progress is expected
	var err error
	if time.Since(r.migrated) > migrationsInterval {
		if err = migrations.Check(ctx, r.pool.Pool, r.schema); err == nil {
			r.migrated = time.Now()
		}
	}
	switch unready := (*migrations.UnreadyError)(nil); {
	case errors.As(err, &unready):
		reasons = append(reasons, Reason{"migrations", err.Error()})
	case err == nil:
		if paused, err = queue.Schema(r.schema).PausedQueues(ctx, r.pool); err == nil {
			_, err = r.pool.Exec(ctx, tryWritingQuery)
		}
	}
	switch {
	case len(reasons) > 0:
	case dbpool.SQLState(err) == readOnlyTransaction:
		return []Reason{{"writes", "the server is a standby, or its transactions are read-only"}}, err
	case errors.Is(err, context.DeadlineExceeded):
		return []Reason{{databaseCheck, fmt.Sprintf("gave no answer within %v", checkTimeout)}}, err
	case err != nil:
		return []Reason{{databaseCheck, "cannot be reached, or refuses"}}, err
	}
	for _, stall := range r.service.Stalls(paused) {
		reasons = append(reasons, Reason{"claiming", stall})
	}
	return reasons, nil
}

// tryWritingQuery writes nothing, but fails if the server does not accept writes.
const tryWritingQuery = `
-- name: readiness_write
DELETE FROM worker_processes WHERE false`

const readOnlyTransaction = "25006" // an SQLSTATE

// Reasons returns why the process is not ready; none when it is.
func (r *Readiness) Reasons() []Reason {
	if r.service.Stopping() {
		return []Reason{{"draining", "finishes what is running and takes no more jobs"}}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if age := time.Since(r.at); age > checkedWithin {
		return []Reason{{"checks", fmt.Sprintf("nothing was checked for %v", age.Round(time.Second))}}
	}
	return r.reasons
}

// Ready reports whether the process is ready.
func (r *Readiness) Ready() bool { return len(r.Reasons()) == 0 }

// ServeHTTP answers 200 when the process is ready, otherwise 503 with the reasons.
func (r *Readiness) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	reasons := r.Reasons()
	answer := struct {
		Ready   bool     `json:"ready"`
		Reasons []Reason `json:"reasons"`
	}{len(reasons) == 0, append([]Reason{}, reasons...)}
	w.Header().Set("Content-Type", "application/json")
	if !answer.Ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(answer)
}

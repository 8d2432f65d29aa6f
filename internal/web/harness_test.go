package web_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/admin"
	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/internal/metrics"
	"github.com/trainingmonkey/worker/internal/web"
	"github.com/trainingmonkey/worker/jobs"
	"github.com/trainingmonkey/worker/test/dbtest"
	"github.com/trainingmonkey/worker/workers"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// rig is a worker, assembled as by cmd/worker.
type rig struct {
	*testing.T
	pool      *dbpool.Pool
	metrics   *metrics.Metrics
	service   *workers.Service
	watch     *admin.Watch
	readiness *web.Readiness
	options   web.Options

	stopOnce sync.Once
	stop     context.CancelFunc // stops the service
	stopped  chan error
}

// newRig prepares a worker on the database of databaseURL, and does not run it.
func newRig(t *testing.T, databaseURL string, change ...func(*config.Config)) *rig {
	t.Helper()
	c := config.Default()
	for _, f := range change {
		f(&c)
	}
	logger := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	r := &rig{T: t, metrics: metrics.New("test", c.Operations.SlowQuery, logger), stopped: make(chan error, 1)}
	o := dbtest.Options(databaseURL)
	o.MaxConns, o.LockTimeout, o.ConnectTimeout, o.Tracer = int32(c.Database.MaxConns), config.LockTimeout, config.ConnectTimeout, r.metrics.Tracer()
	var err error
	if r.pool, err = dbpool.Open(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.pool.Close)
	if r.service, err = workers.New(t.Context(), r.pool, c, logger, r.metrics.Observer); err != nil {
		t.Fatal(err)
	}
	throttle := web.NewThrottle()
	r.watch = admin.NewWatch(r.pool, admin.Options{
		RiverSchema: dbtest.RiverSchema, Queues: workers.QueueNames(), Timeout: 5 * time.Second, Throttle: throttle,
		Kinds: jobs.Kinds(),
	}, logger)
	r.readiness = web.NewReadiness(r.pool, dbtest.RiverSchema, r.service, logger)
	r.metrics.Connect(r.pool.Stat, r.service, r.watch, r.readiness.Ready)
	r.options = web.Options{
		Access: web.Access{Listen: "127.0.0.1:0"}, Version: "test", Rounding: "none", RiverSchema: dbtest.RiverSchema, Pool: r.pool, Throttle: throttle,
		Service: r.service, Watch: r.watch, Metrics: r.metrics.Handler(),
		Readiness: r.readiness, Logger: logger,
	}
	return r
}

// run starts the service and its readiness.
func (r *rig) run() {
	r.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	r.stop = cancel
	background, end := context.WithCancel(context.WithoutCancel(r.Context()))
	var wg sync.WaitGroup
	wg.Go(func() { r.readiness.Run(background) })
	go func() { r.stopped <- r.service.Run(ctx) }()
	r.Cleanup(func() {
		r.end()
		end()
		wg.Wait()
	})
}

// end stops the service and waits for it.
func (r *rig) end() {
	r.stopOnce.Do(func() {
		r.stop()
		if err := <-r.stopped; err != nil {
			r.Error(err)
		}
	})
}

// serve serves on loopback and returns the base URL.
func (r *rig) serve() string {
	r.Helper()
	server, err := web.Listen(r.Context(), r.options)
	if err != nil {
		r.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve() }()
	r.Cleanup(func() {
		server.Shutdown(r.Context())
		if err := <-done; err != nil {
			r.Error(err)
		}
	})
	return "http://" + server.Address()
}

// get sends the handler a request like that of a browser on this machine.
func (r *rig) get(path string) *httptest.ResponseRecorder {
	r.Helper()
	handler, err := web.Handler(r.options)
	if err != nil {
		r.Fatal(err)
	}
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, httptest.NewRequestWithContext(r.Context(), http.MethodGet, "http://localhost"+path, nil))
	return recorder
}

// readyz is the answer of /readyz.
type readyz struct {
	Ready   bool
	Reasons []web.Reason
	status  int
}

func (r *rig) readyz() readyz {
	r.Helper()
	answer := r.get("/readyz")
	got := readyz{status: answer.Code}
	if err := json.Unmarshal(answer.Body.Bytes(), &got); err != nil {
		r.Fatalf("/readyz = %q: %v", answer.Body, err)
	}
	if got.Ready != (got.status == http.StatusOK) || got.Ready != (len(got.Reasons) == 0) {
		r.Errorf("/readyz contradicts itself: %+v", got)
	}
	return got
}

// waitForReason waits until /readyz reports the check as a reason, or no reason for "".
func (r *rig) waitForReason(check string, within time.Duration) {
	r.Helper()
	began := time.Now()
	for {
		got := r.readyz()
		if (check == "" && got.Ready) || (len(got.Reasons) > 0 && got.Reasons[0].Check == check) {
			r.Logf("/readyz has reason %q after %v: %v", check, time.Since(began).Round(10*time.Millisecond), got.Reasons)
			return
		}
		if time.Since(began) > within {
			r.Fatalf("/readyz = %+v after %v, want %q", got, within, check)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (r *rig) exec(sql string, args ...any) {
	r.Helper()
	if _, err := r.pool.Exec(r.Context(), sql, args...); err != nil {
		r.Fatalf("%s: %v", sql, err)
	}
}

// enqueue inserts a job for each activity.
func (r *rig) enqueue(activities ...jobs.Activity) {
	r.Helper()
	enqueuer, err := jobs.NewEnqueuer(r.pool.Pool, dbtest.RiverSchema)
	if err != nil {
		r.Fatal(err)
	}
	var args []jobs.ActivityIngest
	for _, a := range activities {
		args = append(args, jobs.ActivityIngest{Activities: []jobs.Activity{a}})
	}
	if _, err := enqueuer.Ingest(r.Context(), jobs.PriorityLive, args...); err != nil {
		r.Fatal(err)
	}
}

// activity is a user's run on a day of 2025.
func activity(id int64, user int32, day int) jobs.Activity {
	load, trimp := float64(3+day%5), float64(40+day%31)
	return jobs.Activity{
		ActivityID: id, UserID: user, TotalLoadMiles: &load, Trimp: &trimp,
		Date: time.Date(2025, 1, 1+day, 0, 0, 0, 0, time.UTC).Format(time.DateOnly),
	}
}

// metric returns the value of a series, named as in the text format, and false if there
// is none.
func (r *rig) metric(series string) (value string, found bool) {
	r.Helper()
	for line := range strings.Lines(r.get("/metrics").Body.String()) {
		if rest, ok := strings.CutPrefix(line, series+" "); ok {
			return strings.TrimSpace(rest), true
		}
	}
	return "", false
}

// value waits until the sum of all series with this prefix is as wanted.
func (r *rig) value(series string, within time.Duration, wanted func(float64) bool) {
	r.Helper()
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		sum, found := 0.0, false
		for line := range strings.Lines(r.get("/metrics").Body.String()) {
			if strings.HasPrefix(line, series) {
				v, err := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndexByte(line, ' '):]), 64)
				if err != nil {
					r.Fatal(err)
				}
				sum, found = sum+v, true
			}
		}
		if found && wanted(sum) {
			return
		}
		if time.Since(began) > within {
			r.Fatalf("%s = %v (found: %v) after %v", series, sum, found, within)
		}
	}
}

func above(limit float64) func(float64) bool { return func(v float64) bool { return v > limit } }
func is(want float64) func(float64) bool     { return func(v float64) bool { return v == want } }

// hostName returns host:port of a URL.
func hostName(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

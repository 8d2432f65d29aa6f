package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// oneActivityJobsQuery enqueues jobs of one activity each, of a thousand users.
const oneActivityJobsQuery = `
INSERT INTO river.river_job (kind, queue, args, max_attempts)
SELECT 'activity_ingest', 'ingest', jsonb_build_object('activities', jsonb_build_array(jsonb_build_object(
	'activity_id', i, 'user_id', i % 1000 + 1, 'date', date '2025-01-01' + i / 1000, 'total_load_miles', i % 80 / 8.0, 'trimp', i % 200))), 25
FROM generate_series(1, $1::int) AS i`

// operationsSuite alternates workers with and without metrics, probes and pages
// on the same queue.
func operationsSuite(ctx context.Context, r *rig) error {
	size := 60_000
	if r.short {
		size = 2_000
	}
	template, err := r.migrated(ctx)
	if err != nil {
		return err
	}
	if err := r.exec(ctx, template, oneActivityJobsQuery, size); err != nil {
		return err
	}
	if err := r.exec(ctx, template, `VACUUM ANALYZE`); err != nil {
		return err
	}
	var off, on, cpuOff, cpuOn, scrapes []float64
	right := true
	for round := range r.rounds {
		without, err := drainOnce(ctx, r, template, "")
		if err != nil {
			return err
		}
		with, err := drainOnce(ctx, r, template, "127.0.0.1:0")
		if err != nil {
			return err
		}
		right = right && with.digest == without.digest
		r.say("operations, round %d: off %.2f s and %.2f s of processor, on %.2f s and %.2f s, a scrape %.1f ms",
			round+1, without.seconds, without.cpu, with.seconds, with.cpu, 1000*median(with.scrapes))
		off, on = append(off, float64(size)/without.seconds), append(on, float64(size)/with.seconds)
		cpuOff, cpuOn = append(cpuOff, without.cpu), append(cpuOn, with.cpu)
		scrapes = append(scrapes, with.scrapes...)
	}
	r.results = append(r.results,
		newResult("operations_off", off, true, ""),
		newResult("operations_on", on, right, fmt.Sprintf("%.3f × the throughput of off, %.3f × its processor time, a scrape takes %.1f ms and at most %.1f ms",
			median(on)/median(off), median(cpuOn)/median(cpuOff), 1000*median(scrapes), 1000*newResult("", scrapes, true, "").Max)),
	)
	return r.drop(ctx, template)
}

// drained is a worker's run through a queue.
type drained struct {
	seconds, cpu float64
	digest       string
	scrapes      []float64 // seconds that each took
}

func drainOnce(ctx context.Context, r *rig, template, listen string) (d drained, err error) {
	database, err := r.database(ctx, template)
	if err != nil {
		return d, err
	}
	cmd := exec.CommandContext(ctx, r.worker, "run", "--drain")
	cmd.Env = append(os.Environ(), "DATABASE_URL="+r.server.URL(database), "TMWORKER_LOG_FORMAT=json", "TMWORKER_OPERATIONS_LISTEN="+listen)
	cmd.Dir = r.dir
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	log, err := cmd.StderrPipe()
	if err != nil {
		return d, err
	}
	started := time.Now()
	if err := cmd.Start(); err != nil {
		return d, err
	}
	var wg sync.WaitGroup
	scraping, end := context.WithCancel(ctx)
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		var line struct{ Msg, Address string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "operations are served" {
			wg.Go(func() { d.scrapes = scrape(scraping, "http://"+line.Address+"/metrics") })
		}
	}
	end()
	wg.Wait()
	if err := cmd.Wait(); err != nil {
		return d, fmt.Errorf("worker: %w", err)
	}
	d.seconds = time.Since(started).Seconds()
	d.cpu = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	pool, err := r.open(ctx, database)
	if err != nil {
		return d, err
	}
	defer pool.Close()
	if err := pool.QueryRow(ctx, resultsDigest).Scan(&d.digest); err != nil {
		return d, err
	}
	return d, r.drop(ctx, database)
}

// scrapeInterval is shorter than usual, to have enough of them.
const scrapeInterval = 5 * time.Second

// scrape asks for the metrics until ctx ends and returns what each took.
func scrape(ctx context.Context, address string) (seconds []float64) {
	for {
		started := time.Now()
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return seconds
		}
		if response, err := http.DefaultClient.Do(request); err == nil {
			_, err = io.Copy(io.Discard, response.Body)
			_ = response.Body.Close()
			if err == nil && response.StatusCode == http.StatusOK {
				seconds = append(seconds, time.Since(started).Seconds())
			}
		}
		select {
		case <-ctx.Done():
			return seconds
		case <-time.After(scrapeInterval):
		}
	}
}

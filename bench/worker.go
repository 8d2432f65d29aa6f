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
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/trainingmonkey/worker/dbpool"
)

// buildWorker builds the worker as it ships into dir.
func buildWorker(ctx context.Context, dir string) (string, error) {
	binary := filepath.Join(dir, "worker")
	out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, "github.com/trainingmonkey/worker/cmd/worker").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build the worker: %w\n%s", err, out)
	}
	return binary, nil
}

// process is a running worker.
type process struct {
	cmd     *exec.Cmd
	address chan string // where its metrics are, once they are served
	ended   chan error  // receives one value
}

// launch starts a worker as operators do: without a configuration file.
// Settings are variables of its environment. What it warns of is shown.
func (r *rig) launch(ctx context.Context, url string, settings ...string) (*process, error) {
	cmd := exec.CommandContext(ctx, r.worker, "run")
	cmd.Env = append(append(os.Environ(), "DATABASE_URL="+url, "TMWORKER_LOG_FORMAT=json", "TMWORKER_OPERATIONS_LISTEN=127.0.0.1:0"), settings...)
	cmd.Dir = r.dir
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	log, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, address: make(chan string, 1), ended: make(chan error, 1)}
	go func() {
		defer close(p.address)
		lines := bufio.NewScanner(log)
		for lines.Scan() {
			var line struct{ Level, Msg, Address string }
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "operations are served" {
				p.address <- line.Address
			}
			if line.Level != "INFO" {
				r.say("worker: %s", lines.Text())
			}
		}
		p.ended <- cmd.Wait()
	}()
	return p, nil
}

// startWorker starts a worker and returns once it works.
func (r *rig) startWorker(ctx context.Context, database string) (*process, error) {
	p, err := r.launch(ctx, r.server.URL(database))
	if err != nil {
		return nil, err
	}
	pool, err := r.open(ctx, database)
	if err != nil {
		return nil, err
	}
	defer pool.Close()
	if err := p.until(ctx, pool, `SELECT EXISTS (SELECT FROM worker_processes WHERE beat_at > now() - interval '1 minute')`); err != nil {
		return nil, err
	}
	time.Sleep(200 * time.Millisecond) // until its queues are fetched from
	return p, nil
}

// until asks the database until it says yes. The worker must live that long.
func (p *process) until(ctx context.Context, pool *dbpool.Pool, question string) error {
	for {
		var yes bool
		if err := pool.QueryRow(ctx, question).Scan(&yes); err != nil || yes {
			return err
		}
		select {
		case err := <-p.ended:
			return fmt.Errorf("worker ended: %w", err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// end stops the worker and returns what it took.
func (p *process) end() (o outcome, err error) {
	o.memory = peakMemory(p.cmd.Process.Pid)
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return o, err
	}
	if err := <-p.ended; err != nil {
		return o, fmt.Errorf("worker: %w", err)
	}
	o.processor = (p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()).Seconds()
	if usage, ok := p.cmd.ProcessState.SysUsage().(*syscall.Rusage); ok && o.memory == 0 {
		o.memory = maxRSS(usage)
	}
	return o, nil
}

// queuesEmpty does not count, so as not to be in the way.
const queuesEmpty = `
SELECT NOT EXISTS (SELECT FROM river.river_job WHERE state IN ('available', 'running', 'retryable', 'scheduled', 'pending'))`

// drainTimeQuery measures, by the server's clock, from the first fetch to the
// last commit of a job.
const drainTimeQuery = `
SELECT extract(epoch FROM max(pg_xact_commit_timestamp(xmin)) - min(attempted_at)) FROM river.river_job`

// work has a worker empty the queues of a database, which it reaches at url.
func (r *rig) work(ctx context.Context, database, url string) (outcome, error) {
	return r.workWith(ctx, database, url, nil)
}

// workWith is work with some settings, and with something that is done
// meanwhile, until its context ends.
func (r *rig) workWith(ctx context.Context, database, url string, meanwhile func(ctx context.Context, address string), settings ...string) (o outcome, err error) {
	pool, err := r.open(ctx, database)
	if err != nil {
		return o, err
	}
	defer pool.Close()
	p, err := r.launch(ctx, url, settings...)
	if err != nil {
		return o, err
	}
	var wg sync.WaitGroup
	working, stop := context.WithCancel(ctx)
	if meanwhile != nil {
		wg.Go(func() { meanwhile(working, <-p.address) })
	}
	err = p.until(ctx, pool, queuesEmpty)
	stop()
	if err != nil {
		return o, err
	}
	wg.Wait()
	var told int64
	select {
	case address := <-p.address:
		if told, err = countStatements(ctx, address); err != nil {
			return o, err
		}
	default: // nobody is told
	}
	if o, err = p.end(); err != nil {
		return o, err
	}
	o.statements = told
	return o, pool.QueryRow(ctx, drainTimeQuery).Scan(&o.seconds)
}

// countStatements asks a worker how many statements it sent.
func countStatements(ctx context.Context, address string) (n int64, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "tmworker_statement_duration_seconds_count{"); ok {
			_, count, _ := strings.Cut(rest, "} ")
			value, err := strconv.ParseFloat(strings.TrimSpace(count), 64)
			if err != nil {
				return 0, err
			}
			n += int64(value)
		}
	}
	return n, nil
}

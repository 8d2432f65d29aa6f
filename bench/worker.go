package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// process is a running worker.
type process struct {
	cmd     *exec.Cmd
	address string        // of its probes, metrics and pages
	served  chan struct{} // closed once they are served
	ended   chan struct{} // closed once it has ended
	err     error         // its exit error, if any
}

// launch starts a worker without a configuration file. settings are environment
// variables. The worker's warnings are printed.
func (r *rig) launch(ctx context.Context, binary, url string, settings ...string) (*process, error) {
	cmd := exec.CommandContext(ctx, binary, "run")
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
	p := &process{cmd: cmd, served: make(chan struct{}), ended: make(chan struct{})}
	r.launched = append(r.launched, p)
	go func() {
		defer close(p.ended)
		lines := bufio.NewScanner(log)
		for lines.Scan() {
			var line struct{ Level, Msg, Address string }
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "serving probes, metrics and pages" {
				p.address = line.Address
				close(p.served)
			}
			if line.Level != "INFO" {
				r.say("worker: %s", lines.Text())
			}
		}
		p.err = cmd.Wait()
	}()
	return p, nil
}

// startWorker starts this checkout's worker and returns once it is ready.
func (r *rig) startWorker(ctx context.Context, database string, settings ...string) (*process, error) {
	p, err := r.launch(ctx, r.worker, r.server.URL(database), settings...)
	if err != nil {
		return nil, err
	}
	for {
		if _, err = p.get(ctx, "/readyz"); err == nil {
			break
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-p.ended:
			return nil, err
		case <-time.After(20 * time.Millisecond):
		}
	}
	time.Sleep(200 * time.Millisecond) // until it fetches from its queues
	return p, nil
}

// get requests a page from the worker, waiting until the worker serves pages.
func (p *process) get(ctx context.Context, path string) (page string, err error) {
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case <-p.ended:
		return "", fmt.Errorf("the worker ended: %w", p.err)
	case <-p.served:
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.address+path, nil)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", path, response.Status)
	}
	return string(text), errors.Join(err, response.Body.Close())
}

// end stops the worker and returns what it used.
func (p *process) end() (o outcome, err error) {
	o.memory = peakMemory(p.cmd.Process.Pid)
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return o, err
	}
	<-p.ended
	if p.err != nil {
		return o, fmt.Errorf("worker: %w", p.err)
	}
	o.processor = (p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()).Seconds()
	if usage, ok := p.cmd.ProcessState.SysUsage().(*syscall.Rusage); ok && o.memory == 0 {
		o.memory = maxRSS(usage)
	}
	return o, nil
}

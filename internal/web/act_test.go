package web_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/trainingmonkey/worker/internal/web"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// visitor is an operator's browser without scripts.
type visitor struct {
	*rig
	handler http.Handler
	log     *lockedBuffer
}

// lockedBuffer is a log that can be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

// lines returns the log's lines with a message, and clears the log.
func (l *lockedBuffer) lines(t *testing.T, message string) (lines []map[string]any) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.b.String()) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatal(err)
		}
		if fields["msg"] == message {
			lines = append(lines, fields)
		}
	}
	l.b.Reset()
	return lines
}

// visit returns a visitor of a rig with credentials.
func (r *rig) visit() visitor {
	r.Helper()
	log := &lockedBuffer{}
	r.options.Access.User, r.options.Access.Password = user, password
	r.options.Logger = slog.New(slog.NewJSONHandler(log, nil))
	handler, err := web.Handler(r.options)
	if err != nil {
		r.Fatal(err)
	}
	return visitor{r, handler, log}
}

func (v visitor) do(method, path string, form url.Values, change ...func(*http.Request)) *httptest.ResponseRecorder {
	v.Helper()
	r := httptest.NewRequestWithContext(v.Context(), method, "http://localhost"+path, strings.NewReader(form.Encode()))
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	r.SetBasicAuth(user, password)
	for _, f := range change {
		f(r)
	}
	recorder := httptest.NewRecorder()
	v.handler.ServeHTTP(recorder, r)
	return recorder
}

var (
	hiddenField = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)
	heading     = regexp.MustCompile(`<h1 id="question">([^<]*)</h1>\s*(?:<p>([^<]*)</p>\s*)?<p>`)
	doneNote    = regexp.MustCompile(`<p class="done" role="status">\d\d:\d\d:\d\d UTC: ([^<]*)</p>`)
)

// confirm follows a link to a question, and returns the question and the form's fields.
func (v visitor) confirm(path string) (question string, form url.Values) {
	v.Helper()
	got := v.do(http.MethodGet, path, nil)
	text := got.Body.String()
	match := heading.FindStringSubmatch(text)
	if got.Code != http.StatusOK || match == nil {
		v.Fatalf("%s = %d:\n%s", path, got.Code, text)
	}
	form = url.Values{}
	for _, field := range hiddenField.FindAllStringSubmatch(text, -1) {
		form.Add(html.UnescapeString(field[1]), html.UnescapeString(field[2]))
	}
	return strings.TrimSpace(html.UnescapeString(match[1] + " " + match[2])), form
}

// press sends a form and returns what the resulting page says was done.
func (v visitor) press(form url.Values) (says string) {
	v.Helper()
	got := v.do(http.MethodPost, "/act", form)
	if got.Code != http.StatusSeeOther {
		v.Fatalf("POST %v = %d, want 303:\n%s", form, got.Code, got.Body)
	}
	page := v.do(http.MethodGet, got.Header().Get("Location"), nil)
	match := doneNote.FindStringSubmatch(page.Body.String())
	if match == nil {
		v.Fatalf("%s does not say what was done:\n%s", got.Header().Get("Location"), page.Body)
	}
	return html.UnescapeString(match[1])
}

// text runs a query that returns one text.
func (r *rig) text(sql string, args ...any) (text string) {
	r.Helper()
	if err := r.pool.QueryRow(r.Context(), sql, args...).Scan(&text); err != nil {
		r.Fatalf("%s: %v", sql, err)
	}
	return text
}

const jobStates = `SELECT coalesce(string_agg(id || ' ' || state, ', ' ORDER BY id), '') FROM river.river_job`

// failures inserts jobs 1 to 5, of which 1 to 3 are discarded and 4 is retryable, and
// rejects 1 to 3.
func (r *rig) failures() {
	r.Helper()
	r.exec(`INSERT INTO river.river_job (id, state, kind, queue, args, attempt, max_attempts, finalized_at, scheduled_at, attempted_at, errors)
		SELECT id, state::river.river_job_state, 'activity_ingest', 'ingest', '{"activities": [{"user_id": 7}]}', 25, 25,
		       CASE WHEN state = 'discarded' THEN now() END, now() + interval '1 hour', now(), array[jsonb_build_object('error', error)]
		FROM (VALUES (1, 'discarded', 'user 1: <gone> & away'), (2, 'discarded', 'user 2: <gone> & away'), (3, 'discarded', 'timeout'),
			(4, 'retryable', 'timeout'), (5, 'available', NULL)) AS jobs (id, state, error)`)
	r.exec(`SELECT setval(pg_get_serial_sequence('river.river_job', 'id'), 5)`)
	r.exec(`INSERT INTO ingest_rejects (job_id, user_id, activity_id, payload, reason)
		SELECT 100 + i, 7, i, jsonb_build_object('activity_id', i, 'user_id', 7, 'date', '2025-02-0' || i, 'total_load_miles', 5), 'total_load_miles: got ' || i
		FROM generate_series(1, 3) AS i`)
	r.exec(`INSERT INTO river.river_queue (name, paused_at, updated_at) VALUES ('ingest', now(), now()) ON CONFLICT (name) DO UPDATE SET paused_at = now()`)
	r.takeSnapshot()
}

// TestButtons: buttons do what the commands do, without scripts, and each leaves one
// line in the log.
func TestButtons(t *testing.T) {
	t.Parallel()
	r := newRig(t, dbtest.MigratedURL(t))
	r.failures()
	v := r.visit()
	page := v.do(http.MethodGet, "/", nil).Body.String()
	const rejects = `SELECT coalesce(string_agg(id::text, ' ' ORDER BY id), '') FROM ingest_rejects`
	for _, c := range []struct {
		link            string // on the status page
		question, says  string
		change, changed string // in the log
		state, want     string
	}{
		{
			"/act?do=retry_jobs&state=discarded&reason=user%20%e2%80%a6%3a%20%3cgone%3e%20%26%20away",
			"Retry 2 jobs? 2 activity_ingest in queue ingest, discarded.", "2 jobs were retried.",
			"retry_jobs", "[1 2]", jobStates, "1 available, 2 available, 3 discarded, 4 retryable, 5 available",
		},
		{
			"/act?do=cancel_jobs&id=4", "Cancel job 4? 1 activity_ingest in queue ingest, retryable.", "1 job was cancelled.",
			"cancel_jobs", "[4]", jobStates, "1 available, 2 available, 3 discarded, 4 cancelled, 5 available",
		},
		{
			"/act?do=retry_jobs&state=discarded", "Retry job 3? 1 activity_ingest in queue ingest, discarded.", "1 job was retried.",
			"retry_jobs", "[3]", jobStates, "1 available, 2 available, 3 available, 4 cancelled, 5 available",
		},
		{"/act?do=drop_rejects&id=2", "Drop 1 rejected activity? Of 1 athlete.", "1 rejected activity was dropped.", "drop_rejects", "[2]", rejects, "1 3"},
		{
			"/act?do=retry_rejects&reason=total_load_miles%3a%20got%20%e2%80%a6", "Retry 2 rejected activities? Of 1 athlete.", "2 activities were enqueued again.",
			"retry_rejects", "[1 3]", rejects, "",
		},
		{
			"/act?do=resume&queue=ingest", "Resume queue ingest? 1 waiting in it.", "Queue ingest was resumed.",
			"resume", "", `SELECT coalesce(paused_at::text, 'not paused') FROM river.river_queue WHERE name = 'ingest'`, "not paused",
		},
	} {
		if !strings.Contains(html.UnescapeString(page), `href="`+c.link+`"`) {
			t.Errorf("the page has no link %s:\n%s", c.link, page)
		}
		before := r.text(c.state)
		question, form := v.confirm(c.link)
		if after := r.text(c.state); question != c.question || after != before {
			t.Errorf("%s asks %q, want %q; it changed %q to %q", c.link, question, c.question, before, after)
		}
		if says := v.press(form); says != c.says {
			t.Errorf("%s says %q, want %q", c.link, says, c.says)
		}
		if got := r.text(c.state); got != c.want {
			t.Errorf("after %s: %q, want %q", c.link, got, c.want)
		}
		lines := v.log.lines(t, "changed by an operator")
		if len(lines) != 1 || lines[0]["change"] != c.change || lines[0]["user"] != user || lines[0]["level"] != "INFO" ||
			c.changed != "" && fmt.Sprint(sorted(lines[0]["ids"])) != c.changed || c.changed == "" && lines[0]["queue"] != "ingest" {
			t.Errorf("%s is logged as %v", c.link, lines)
		}
	}
	if got := r.text(`SELECT string_agg(queue || ' ' || jsonb_array_length(args->'activities'), ', ') FROM river.river_job WHERE id > 5`); got != "ingest 2" {
		t.Errorf("the rejects are in %s, want one job of both", got)
	}
}

func sorted(ids any) []float64 {
	var all []float64
	for _, id := range ids.([]any) {
		all = append(all, id.(float64))
	}
	slices.Sort(all)
	return all
}

// TestButtonsThatCannot: a button that cannot act says why and changes nothing.
func TestButtonsThatCannot(t *testing.T) {
	t.Parallel()
	r := newRig(t, dbtest.MigratedURL(t))
	r.failures()
	r.exec(`UPDATE ingest_rejects SET payload = payload || '{"date": "2025-02-30"}' WHERE id = 1`)
	v := r.visit()
	before := r.text(jobStates)
	many := url.Values{"do": {"retry_jobs"}}
	for i := range 501 {
		many.Add("id", fmt.Sprint(i+1))
	}
	for name, c := range map[string]struct {
		form   url.Values
		status int
		want   string
	}{
		"unknown":       {url.Values{"do": {"delete"}}, 400, "there is no such change as &#34;delete&#34;"},
		"nothing":       {nil, 400, "there is no such change"},
		"no ids":        {url.Values{"do": {"retry_jobs"}, "state": {"discarded"}}, 400, "which?"},
		"no id":         {url.Values{"do": {"retry_jobs"}, "id": {"1; DROP"}}, 400, "must be a positive whole number"},
		"too many":      {many, 400, "at most 500 at a time, got 501"},
		"no state":      {url.Values{"do": {"retry_jobs"}, "id": {"1"}, "state": {"running"}}, 400, "must be retryable, discarded or cancelled"},
		"wrong queue":   {url.Values{"do": {"resume"}, "queue": {"<b>"}}, 409, "no worker has ever served a queue of this name"},
		"a queue":       {url.Values{"do": {"retry_rejects"}, "queue": {"ingest"}, "id": {"1"}}, 400, "is for resume"},
		"gone":          {url.Values{"do": {"retry_jobs"}, "id": {"999"}}, 409, "nothing is left to do"},
		"other state":   {url.Values{"do": {"retry_jobs"}, "id": {"5"}}, 409, "nothing is left to do"},
		"no reject":     {url.Values{"do": {"drop_rejects"}, "id": {"999"}}, 409, "nothing is left to do"},
		"still invalid": {url.Values{"do": {"retry_rejects"}, "id": {"1"}}, 409, "1 activity stays rejected; number 1: date"},
	} {
		got := v.do(http.MethodPost, "/act", c.form)
		if got.Code != c.status || !strings.Contains(got.Body.String(), c.want) {
			t.Errorf("%s = %d, want %d with %q:\n%s", name, got.Code, c.status, c.want, got.Body)
		}
		if lines := v.log.lines(t, "operator's change refused"); len(lines) != map[bool]int{true: 1}[c.status == 409] {
			t.Errorf("%s is logged as %v", name, lines)
		}
	}
	for path, status := range map[string]int{
		"/act?do=retry_jobs&state=cancelled": 409, "/act?do=retry_jobs&state=discarded&reason=other": 409, "/act?do=retry_jobs": 400, "/act": 400,
		"/act?do=retry_rejects&reason=other": 409,
	} {
		if got := v.do(http.MethodGet, path, nil); got.Code != status || !strings.Contains(got.Body.String(), "Refused") {
			t.Errorf("GET %s = %d, want %d and the reason", path, got.Code, status)
		}
	}
	if after := r.text(jobStates); after != before {
		t.Errorf("jobs were %s, are %s", before, after)
	}
}

// TestButtonsNeedCredentials: and a request from our own page.
func TestButtonsNeedCredentials(t *testing.T) {
	t.Parallel()
	r := newRig(t, dbtest.MigratedURL(t))
	r.failures()
	before := r.text(jobStates)
	form := url.Values{"do": {"retry_jobs"}, "id": {"1"}}
	open := visitor{rig: r}
	var err error
	if open.handler, err = web.Handler(r.options); err != nil {
		t.Fatal(err)
	}
	page := open.do(http.MethodGet, "/", nil).Body.String()
	if strings.Contains(page, "/act") || !strings.Contains(page, "enqueue queues resume ingest") {
		t.Errorf("without credentials the page has buttons, or no command:\n%s", page)
	}
	for method, form := range map[string]url.Values{http.MethodGet: nil, http.MethodPost: form} {
		got := open.do(method, "/act?do=retry_jobs&id=1", form)
		for _, want := range []string{"Set TMWORKER_OPERATIONS_USER and TMWORKER_OPERATIONS_PASSWORD", "<code>enqueue jobs retry 1</code>"} {
			if got.Code != http.StatusForbidden || !strings.Contains(got.Body.String(), want) {
				t.Errorf("%s without credentials = %d, want 403 with %q:\n%s", method, got.Code, want, got.Body)
			}
		}
	}
	v := r.visit()
	for name, c := range map[string]struct {
		status int
		change func(*http.Request)
	}{
		"a wrong password": {401, credentials(user, "wrong")},
		"another site":     {403, header("Sec-Fetch-Site", "cross-site")},
		"an old browser":   {403, header("Origin", "https://attacker.example")},
	} {
		if got := v.do(http.MethodPost, "/act", form, c.change); got.Code != c.status {
			t.Errorf("%s = %d, want %d", name, got.Code, c.status)
		}
	}
	if after := r.text(jobStates); after != before {
		t.Errorf("jobs were %s, are %s", before, after)
	}
	if got := v.do(http.MethodGet, "/act?do=retry_jobs&id=1", nil).Header().Get("Referrer-Policy"); got != "same-origin" {
		t.Errorf("Referrer-Policy of the question = %q: a browser would omit the form's origin", got)
	}
}

// TestDoneIsNotForged: no forged link makes a page say that something was done.
func TestDoneIsNotForged(t *testing.T) {
	t.Parallel()
	r := newRig(t, dbtest.MigratedURL(t))
	r.failures()
	v := r.visit()
	location := v.do(http.MethodPost, "/act", url.Values{"do": {"retry_jobs"}, "id": {"1"}}).Header().Get("Location")
	if page := v.do(http.MethodGet, location, nil).Body.String(); !strings.Contains(page, "1 job was retried.") {
		t.Fatalf("%s does not say what was done", location)
	}
	for _, forged := range []string{
		strings.Replace(location, "1+job", "2+job", 1), regexp.MustCompile(`by=[^&]*`).ReplaceAllString(location, "by="),
		regexp.MustCompile(`at=\d+`).ReplaceAllString(location, "at=1"), "/?done=Call+me", "/?done=x&at=x&by=x",
	} {
		if page := v.do(http.MethodGet, forged, nil).Body.String(); strings.Contains(page, `class="done"`) {
			t.Errorf("the page shows the forged %s", forged)
		}
	}
}

// TestButtonThatWaits: if a row stays locked, the button gives up in time, with nothing
// changed and no connection kept.
func TestButtonThatWaits(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.MigratedURL(t)
	withLockTimeout, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	query := withLockTimeout.Query()
	query.Set("lock_timeout", "1min")
	withLockTimeout.RawQuery = query.Encode()
	r := newRig(t, withLockTimeout.String())
	r.failures()
	v := r.visit()
	tx, err := dbtest.Open(t, databaseURL).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(t.Context()) }()
	if _, err := tx.Exec(t.Context(), `SELECT FROM river.river_job FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	got := v.do(http.MethodPost, "/act", url.Values{"do": {"retry_jobs"}, "id": {"1"}})
	if took := time.Since(began); got.Code < 400 || took > 12*time.Second {
		t.Errorf("a locked job = %d after %v, want a refusal in time", got.Code, took)
	}
	for began := time.Now(); r.pool.Stat().AcquiredConns() > 0; time.Sleep(20 * time.Millisecond) {
		if time.Since(began) > 3*time.Second {
			t.Fatalf("%d connections are still in use", r.pool.Stat().AcquiredConns())
		}
	}
	if lines := v.log.lines(t, "operator's change refused"); len(lines) != 1 {
		t.Errorf("the button is logged as %v", lines)
	}
}

// TestRiverUIChangesAreLogged: like those of our own buttons.
func TestRiverUIChangesAreLogged(t *testing.T) {
	t.Parallel()
	r := newRig(t, dbtest.MigratedURL(t))
	r.failures()
	v := r.visit()
	handler := v.handler
	request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://localhost/river/api/jobs/retry", strings.NewReader(`{"ids":["3"]}`))
	request.SetBasicAuth(user, password)
	request.Header.Set("Content-Type", "application/json")
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, request)
	if got := r.text(`SELECT state::text FROM river.river_job WHERE id = 3`); recorder.Code != http.StatusOK || got != "available" {
		t.Errorf("River's retry = %d, and the job is %s:\n%s", recorder.Code, got, recorder.Body)
	}
	lines := v.log.lines(t, "River's UI is asked for a change")
	if len(lines) != 1 || lines[0]["user"] != user || lines[0]["change"] != "POST /river/api/jobs/retry" || lines[0]["asked"] != `{"ids":["3"]}` {
		t.Errorf("River's retry is logged as %v", lines)
	}
}

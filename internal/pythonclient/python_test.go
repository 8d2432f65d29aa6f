package pythonclient

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/internal/dbtest"
	"github.com/trainingmonkey/worker/internal/oracle"
	"github.com/trainingmonkey/worker/internal/pgtest"
	"github.com/trainingmonkey/worker/workers"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// interpreter returns a Python that has psycopg2 and cryptography. The system's comes first: it
// is the one that packages of the system install modules for.
func interpreter(t testing.TB) string {
	t.Helper()
	var tried []string
	for _, name := range []string{"/usr/bin/python3", "python3"} {
		out, err := exec.CommandContext(t.Context(), name, "-c", "import psycopg2, cryptography").CombinedOutput()
		if err == nil {
			return name
		}
		tried = append(tried, name+": "+err.Error()+" "+string(out))
	}
	t.Fatalf("no Python with psycopg2 and cryptography; install them: apt-get install python3-psycopg2 python3-cryptography\n%s", strings.Join(tried, "\n"))
	return ""
}

// block is a block of Python in the documentation that begins with its file name.
var block = regexp.MustCompile("(?ms)^```python\n# (\\S+\\.py)\n.*?^```$")

// application is a directory with the documentation's modules.
type application struct {
	dir, python string
	files       []string
}

func newApplication(t testing.TB) application {
	t.Helper()
	app := application{dir: t.TempDir(), python: interpreter(t)}
	text, err := os.ReadFile("../../docs/python.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, found := range block.FindAllSubmatch(text, -1) {
		code := strings.TrimSuffix(strings.TrimPrefix(string(found[0]), "```python\n"), "```")
		file := filepath.Join(app.dir, string(found[1]))
		if err := os.WriteFile(file, []byte(code), 0o600); err != nil {
			t.Fatal(err)
		}
		app.files = append(app.files, file)
	}
	if want := strings.Count(string(text), "```python"); len(app.files) != want || want != 4 {
		t.Fatalf("docs/python.md: %d blocks of Python, of which %d begin with a file name; want 4", want, len(app.files))
	}
	return app
}

// use runs one of the ways of testdata/use.py and returns what it printed.
func (app application) use(t testing.TB, pool *dbpool.Pool, how string) string {
	t.Helper()
	return app.run(t, pool.Config().ConnString(), "testdata/use.py", how)
}

func (app application) run(t testing.TB, url string, args ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), app.python, args...)
	command.Env = append(os.Environ(), "DATABASE_URL="+url, "PYTHONPATH="+app.dir, "PYTHONDONTWRITEBYTECODE=1")
	var stderr strings.Builder
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("python3 %v: %v\n%s", args, err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

func text(t testing.TB, pool *dbpool.Pool, sql string) string {
	t.Helper()
	var s string
	if err := pool.QueryRow(t.Context(), sql).Scan(&s); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return s
}

func newService(t testing.TB, pool *dbpool.Pool) *workers.Service {
	t.Helper()
	s, err := workers.New(t.Context(), pool, config.Default(), slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// drain works everything that is queued and compares all results.
func drain(t testing.TB, pool *dbpool.Pool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := newService(t, pool).Drain(ctx); err != nil || ctx.Err() != nil {
		t.Fatalf("drain: %v", err)
	}
	wrong, total, err := oracle.Check(t.Context(), pool)
	if err != nil || total > 0 {
		t.Errorf("%d rows are wrong, %v: %v", total, err, wrong)
	}
}

func TestBlocksOfTheDocumentationCompile(t *testing.T) {
	t.Parallel()
	app := newApplication(t)
	app.run(t, "", append([]string{"-m", "py_compile"}, app.files...)...)
}

const jobsQuery = `SELECT coalesce(string_agg(concat_ws(' ', queue, jsonb_array_length(coalesce(args->'activities', args->'ranges'))), ', ' ORDER BY id), 'none')
	FROM river.river_job WHERE state = 'available'`

func TestCommitAndRollback(t *testing.T) {
	t.Parallel()
	app, pool := newApplication(t), dbtest.Migrated(t)
	for _, how := range []string{"rollback", "closed_without_commit"} {
		app.use(t, pool, how)
		if got := text(t, pool, jobsQuery); got != "none" {
			t.Errorf("%s: jobs %s", how, got)
		}
	}
	id := app.use(t, pool, "commit")
	if got := text(t, pool, `SELECT string_agg(id::text, ' ') FROM river.river_job`); got != id {
		t.Errorf("the job has id %s, the function returned %s", got, id)
	}
	drain(t, pool)
	const stored = `SELECT concat_ws(' ', activity_id, user_id, date, name, trimp, acute_chronic_ratio) FROM activities`
	if got, want := text(t, pool, stored), "12000000001 1 2025-09-28 Läuft 'gut' 8 4"; got != want {
		t.Errorf("stored %s, want %s", got, want)
	}
}

func TestOneTransactionWithTheApplicationsWrites(t *testing.T) {
	t.Parallel()
	app, pool := newApplication(t), dbtest.Migrated(t)
	app.use(t, pool, "commit")
	drain(t, pool)
	const want = "activities[0]: user_id: must be a positive 32-bit integer, got 0\n" +
		`activities[0]: date: must be a date that exists, as YYYY-MM-DD between 1900-01-01 and 2999-12-31, got "2025-02-30"`
	if got := app.use(t, pool, "one_transaction_that_fails"); got != want {
		t.Errorf("refused with %s, want %s", got, want)
	}
	if got := text(t, pool, jobsQuery); got != "none" {
		t.Errorf("jobs after a refusal: %s", got)
	}
	const trimp = `SELECT concat_ws(' ', trimp, seven_day_avg_trimp) FROM activities`
	if got := text(t, pool, trimp); got != "8 1.1428572" {
		t.Errorf("after a refusal: %s, want what was there before", got)
	}
	app.use(t, pool, "one_transaction")
	if got := text(t, pool, jobsQuery); got != "recalc 1" {
		t.Errorf("jobs: %s, want one recalculation", got)
	}
	drain(t, pool)
	if got := text(t, pool, trimp); got != "80 11.428572" {
		t.Errorf("after the edit: %s", got)
	}
}

func TestThousandsInABatch(t *testing.T) {
	t.Parallel()
	app, pool := newApplication(t), dbtest.Migrated(t)
	if got := app.use(t, pool, "thousands"); len(strings.Fields(got)) != 3 {
		t.Errorf("jobs %s, want three", got)
	}
	if got := text(t, pool, jobsQuery); got != "ingest_bulk 1000, ingest_bulk 1000, ingest_bulk 500" {
		t.Errorf("jobs: %s", got)
	}
	drain(t, pool)
	if got := text(t, pool, `SELECT count(*)::text FROM activities WHERE acute_chronic_ratio = 4`); got != "2500" {
		t.Errorf("%s activities with the right ratio, want 2500", got)
	}
	if got := app.use(t, pool, "many_dates"); got != "1000 0" {
		t.Errorf("recalculations of 1000 and of no dates: %s", got)
	}
	if got := text(t, pool, `SELECT string_agg(DISTINCT concat_ws(' ', queue, priority), ', ') FROM river.river_job WHERE state = 'available'`); got != "recalc_bulk 3" {
		t.Errorf("queues %s", got)
	}
	drain(t, pool)
}

package python

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
	"github.com/trainingmonkey/worker/internal/oracle"
	"github.com/trainingmonkey/worker/test/dbtest"
	"github.com/trainingmonkey/worker/workers"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

const (
	modules  = "psycopg2, psycopg, cryptography, flask, flask_sqlalchemy"
	packages = "python3-psycopg2 python3-psycopg python3-cryptography python3-flask python3-flask-sqlalchemy"
)

// interpreter returns a Python that has the modules. The system's comes first, because
// the system's packages install modules for it.
func interpreter(t testing.TB) string {
	t.Helper()
	var tried []string
	for _, name := range []string{"/usr/bin/python3", "python3"} {
		out, err := exec.CommandContext(t.Context(), name, "-c", "import "+modules).CombinedOutput()
		if err == nil {
			return name
		}
		tried = append(tried, name+": "+err.Error()+" "+string(out))
	}
	t.Fatalf("no Python with %s; install them: apt-get install %s\n%s", modules, packages, strings.Join(tried, "\n"))
	return ""
}

// block matches a block of Python in the documentation that begins with its file name.
var block = regexp.MustCompile("(?ms)^```python\n# (\\S+\\.py)\n.*?^```$")

// drivers are named by their packages.
var drivers = []string{"psycopg2", "psycopg"}

// application is a directory with the documentation's modules for a driver, and a copy
// of clients/python's module.
type application struct {
	dir, python, driver string
	files               []string
}

func newApplication(t testing.TB, driver string) application {
	t.Helper()
	app := application{dir: t.TempDir(), python: interpreter(t), driver: driver}
	write := func(name, code string) {
		t.Helper()
		file := filepath.Join(app.dir, name)
		if err := os.WriteFile(file, []byte(code), 0o600); err != nil {
			t.Fatal(err)
		}
		app.files = append(app.files, file)
	}
	text, err := os.ReadFile("../../docs/python.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, found := range block.FindAllSubmatch(text, -1) {
		code := strings.TrimSuffix(strings.TrimPrefix(string(found[0]), "```python\n"), "```")
		write(string(found[1]), strings.ReplaceAll(code, "psycopg2", driver))
	}
	if want := strings.Count(string(text), "```python"); len(app.files) != want || want != 4 {
		t.Fatalf("docs/python.md has %d blocks of Python, %d of them with a file name; want 4", want, len(app.files))
	}
	module, err := os.ReadFile("../../clients/python/trainingmonkey_worker.py")
	if err != nil {
		t.Fatal(err)
	}
	write("trainingmonkey_worker.py", string(module))
	return app
}

// use runs one of the functions of testdata/use.py and returns what it printed.
func (app application) use(t testing.TB, pool *dbpool.Pool, how ...string) string {
	t.Helper()
	return app.run(t, pool.Config().ConnString(), append([]string{"testdata/use.py"}, how...)...)
}

func (app application) command(ctx context.Context, url string, args ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, app.python, args...)
	command.Env = append(os.Environ(), "DATABASE_URL="+url, "DRIVER="+app.driver, "PYTHONPATH="+app.dir, "PYTHONDONTWRITEBYTECODE=1")
	return command
}

func (app application) run(t testing.TB, url string, args ...string) string {
	t.Helper()
	command := app.command(t.Context(), url, args...)
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

func want(t testing.TB, got, want, what string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got\n%s\nwant\n%s", what, got, want)
	}
}

func newService(t testing.TB, pool *dbpool.Pool) *workers.Service {
	t.Helper()
	s, err := workers.New(t.Context(), pool, config.Default(), slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})), nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// work runs a worker until the end of the test.
func work(t *testing.T, pool *dbpool.Pool) {
	t.Helper()
	s := newService(t, pool)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// drain works every queued job and checks all results.
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

func TestModulesCompile(t *testing.T) {
	t.Parallel()
	for _, driver := range drivers {
		app := newApplication(t, driver)
		app.run(t, "", append([]string{"-m", "py_compile"}, app.files...)...)
	}
}

const jobsQuery = `SELECT coalesce(string_agg(concat_ws(' ', queue, jsonb_array_length(coalesce(args->'activities', args->'ranges'))), ', ' ORDER BY id), 'none')
	FROM river.river_job WHERE state = 'available'`

func TestCommitAndRollback(t *testing.T) {
	t.Parallel()
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			app, pool := newApplication(t, driver), dbtest.Migrated(t)
			for _, how := range []string{"rollback", "closed_without_commit"} {
				app.use(t, pool, how)
				want(t, text(t, pool, jobsQuery), "none", "jobs after "+how)
			}
			for _, how := range []string{"commit", "commits_itself"} {
				id := app.use(t, pool, how)
				want(t, text(t, pool, `SELECT max(id)::text FROM river.river_job`), id, "the job of "+how)
			}
			drain(t, pool)
			want(t, text(t, pool, `SELECT concat_ws(' ', activity_id, user_id, date, name, trimp, acute_chronic_ratio) FROM activities`),
				"12000000001 1 2025-09-28 Läuft 'gut' 100 %s 8 4", "stored")
		})
	}
}

func TestOneTransactionWithTheApplicationsWrites(t *testing.T) {
	t.Parallel()
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			app, pool := newApplication(t, driver), dbtest.Migrated(t)
			app.use(t, pool, "commit")
			drain(t, pool)
			want(t, app.use(t, pool, "one_transaction_that_fails"), "activities[0]: user_id: must be a positive 32-bit integer, got 0\n"+
				`activities[0]: date: must be a date that exists, as YYYY-MM-DD between 1900-01-01 and 2999-12-31, got "2025-02-30"`, "refused")
			want(t, text(t, pool, jobsQuery), "none", "jobs after a refusal")
			const trimp = `SELECT concat_ws(' ', trimp, seven_day_avg_trimp) FROM activities`
			want(t, text(t, pool, trimp), "8 1.1428572", "after a refusal")
			app.use(t, pool, "set_trimp")
			want(t, text(t, pool, jobsQuery), "recalc 1", "jobs after the edit")
			drain(t, pool)
			want(t, text(t, pool, trimp), "80 11.428572", "after the edit")
		})
	}
}

// TestRefusals: an element is named by its place in the list, not in its job.
func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			app, pool := newApplication(t, driver), dbtest.Migrated(t)
			got := strings.Split(app.use(t, pool, "refused"), "\n")
			for i, part := range []string{
				"activities[1000]: unknown field load (did you mean total_load_miles?)", "activities[0] (activity_id 12000000001): name: holds half of a character",
				"2025-02-30", "user_id: must be a positive integer, got 0",
			} {
				if i >= len(got) || !strings.Contains(got[i], part) {
					t.Errorf("refusal %d of %q lacks %q", i, got, part)
				}
			}
			want(t, text(t, pool, jobsQuery), "none", "jobs after refusals")
		})
	}
}

func TestThousandsInABatch(t *testing.T) {
	t.Parallel()
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			app, pool := newApplication(t, driver), dbtest.Migrated(t)
			if got := app.use(t, pool, "thousands"); len(strings.Fields(got)) != 3 {
				t.Errorf("jobs %s, want three", got)
			}
			want(t, text(t, pool, jobsQuery), "ingest_bulk 1000, ingest_bulk 1000, ingest_bulk 500", "jobs")
			drain(t, pool)
			want(t, text(t, pool, `SELECT count(*)::text FROM activities WHERE acute_chronic_ratio = 4`), "2500", "activities with the right ratio")
			want(t, app.use(t, pool, "many_dates"), "1000 0 0", "recalculations of 1000 and of no dates, and jobs of no activities")
			want(t, text(t, pool, `SELECT string_agg(DISTINCT concat_ws(' ', queue, priority), ', ') FROM river.river_job WHERE state = 'available'`), "recalc_bulk 3", "queues")
			drain(t, pool)
			want(t, app.use(t, pool, "many_statuses"), "2500 True done unknown", "of 2500 ids at once")
		})
	}
}

package endtoend

import (
	"encoding/base64"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/tokens"
	"github.com/trainingmonkey/worker/test/commandtest"
	"github.com/trainingmonkey/worker/test/dbtest"
	"github.com/trainingmonkey/worker/test/providertest"
)

// step is a command that the worker's role runs.
type step struct {
	prepare string // SQL of the tables' owner that creates what the command finds, if anything
	command string
	says    string // in its output, which shows that it read or changed something
}

// rolesSteps run every command of both programs but those of elsewhere, in this order.
// User 7 has the activities of an export, user 8 what is implausible or stored twice.
var rolesSteps = []step{
	{"", "worker version", ""},
	{"", "enqueue version", ""},
	{"", "worker check", "privileges: all that work needs, on all rows"},
	{"", "worker migrate status", "up to date"},
	{"", "worker migrate up --plan", "the database is up to date"},

	{"", "enqueue ingest --dry-run --user 7 --timezone US/Pacific {export}", "610 new"},
	{"", "enqueue ingest --user 7 --timezone US/Pacific {export}", "enqueued 610 activities"},
	{"", "worker run --drain", ""},
	{"", "enqueue ingest --dry-run --user 7 --timezone US/Pacific {export}", "610 with the same"},
	{"", "enqueue recalc --user 7 --from 2025-01-01 --to 2025-02-01", "enqueued the recalculation of user 7"},
	{"", "enqueue acwr --user 7 --all", "2022-09-30"},
	{"", "enqueue acwr --compare --formula ewma", "never computed"},
	{someOfUser8, "enqueue acwr --user 8 --all", "likely_double"},
	{"", "enqueue athlete implausible --user 8", "a speed of 40 mph"},
	{"", "enqueue doubles list --user 8", "2025-03-02"},
	{"", "enqueue trimp --user 8", "resting heart rate 50, maximum 180"},
	{"", "enqueue trimp --user 8 --yes", "changed; enqueued their recalculation in 1 job"},

	{"", "enqueue backfill", "started backfill 1"},
	{"", "enqueue backfill pause 1", "backfill 1 is paused"},
	{"", "enqueue backfill resume 1", "backfill 1 is running"},
	{"", "enqueue backfill status 1", "backfill 1 (everyone)"},
	{"", "enqueue backfill cancel 1", "backfill 1 is cancelled"},
	{"", "enqueue backfill --user 7 --user 8", "started backfill 2"},
	{"", "worker run --drain", ""},
	{"", "enqueue backfill list", "finished"},

	{someJobs, "enqueue jobs list --state discarded", "bad luck"},
	{"", "enqueue jobs list --user 9", "scheduled"},
	{"", "enqueue jobs show 900001", "bad luck"},
	{"", "enqueue jobs retry 900001", "retried 1 job"},
	{"", "enqueue jobs cancel 900002", "cancelled 1 job"},
	{"", "enqueue jobs discard 900003", "discarded 1 job"},
	{"", "enqueue jobs retry --state cancelled,discarded", "2 jobs would be retried"},
	{"", "enqueue queues pause ingest", "ingest"},
	{"", "enqueue queues list", "paused"},
	{"", "enqueue queues resume ingest", "ingest"},

	{someRejects, "enqueue rejects list", "2 × "},
	{"", "enqueue rejects list --each", "injected"},
	{"", "enqueue rejects show 900001", "injected"},
	{"", "enqueue rejects retry 900001", "enqueued 1 activity in 1 job"},
	{"", "enqueue rejects drop --user 9 --yes", "dropped 1 reject"},
	{"", "enqueue status", "ingest"},

	{"", "enqueue tokens status", "3 encrypted with key k1"},
	{"", "enqueue tokens refresh --user 7", "enqueued the refresh of the tokens of 1 user"},
	{"", "worker run --drain", ""},
	{"", "worker tokens rotate", "encrypted the tokens of 2 users with key k2"},

	{"", "enqueue athlete purge --user 9", "nothing was done"},
	{"", "enqueue athlete purge --user 9 --with-audit --yes", "user 9 is removed"},
}

// waitingSteps need a worker that runs beside them.
var waitingSteps = []step{
	{"", "enqueue ingest --wait --user 7 --timezone US/Pacific {export}", "610 unchanged"},
	{"", "enqueue recalc --wait --user 7", "the results of user 7 are written"},
	{"", "enqueue backfill --wait --force", "finished"},
	{"", "enqueue backfill status --wait", "finished"},
	{"", "enqueue tokens refresh --user 8 --wait", "enqueued the refresh of the tokens of 1 user"},
	{"", "enqueue status --check", "alive"},
	{"", "worker check", "privileges: all that work needs, on all rows"},
}

const someOfUser8 = `INSERT INTO activities (activity_id, user_id, date, start_time, type, sport_type, distance_miles, elevation_gain_feet, duration_minutes, total_load_miles, avg_heart_rate, trimp, trimp_calculation_method) VALUES
	(1, 8, '2025-03-01', '07:00:00', 'Run', 'running', 40, 0, 60, 40, 150, 99, 'average'),
	(2, 8, '2025-03-02', '07:00:00', 'Run', 'running', 6.2, 0, 60, 6.2, NULL, 0, NULL), (3, 8, '2025-03-02', '07:00:00', 'Run', 'running', 6.2, 0, 60, 6.2, NULL, 0, NULL);
	INSERT INTO acwr_settings (user_id, doubles) VALUES (8, 'ignore-later')`

const someJobs = `INSERT INTO river.river_job (id, args, kind, queue, state, attempt, max_attempts, errors, finalized_at, scheduled_at)
	SELECT 900000 + n, jsonb_build_object('activities', jsonb_build_array(jsonb_build_object('activity_id', 900000 + n, 'user_id', 9, 'date', '2025-01-01'))), 'activity_ingest', 'ingest',
		CASE n WHEN 1 THEN 'discarded' ELSE 'scheduled' END::river.river_job_state, 1, 25,
		CASE n WHEN 1 THEN ARRAY[jsonb_build_object('attempt', 1, 'at', now(), 'error', 'bad luck', 'trace', '')] END, CASE n WHEN 1 THEN now() END, now() + interval '1 day'
	FROM generate_series(1, 3) AS n`

const someRejects = `INSERT INTO ingest_rejects (id, job_id, user_id, activity_id, payload, reason) OVERRIDING SYSTEM VALUE
	SELECT 900000 + n, 1, 9, 900010 + n, jsonb_build_object('activity_id', 900010 + n, 'user_id', 9, 'date', '2025-01-01', 'total_load_miles', 3), 'refused by the database: injected'
	FROM generate_series(1, 2) AS n`

// elsewhere are commands that are not the role's, each with the reason.
var elsewhere = map[string]string{
	"worker demo": "has a PostgreSQL of its own",
	"worker dev":  "has a PostgreSQL of its own",
}

// TestEveryCommandAsWorkerRole runs every command that the help lists, and requests the
// pages of a worker, with the privileges of `migrate up --worker-role` alone. An ordinary role owns the tables, and
// nothing is open to PUBLIC: neither the schemas nor the functions.
func TestEveryCommandAsWorkerRole(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	pool := dbtest.Open(t, url)
	owner, owners := createRole(t, pool, url, "owner")
	role, mine := createRole(t, pool, url, "worker")
	ownersPool := dbtest.Open(t, owners)
	execute(t, pool, `REVOKE ALL ON SCHEMA public FROM PUBLIC; GRANT USAGE, CREATE ON SCHEMA public TO `+owner+`; CREATE SCHEMA river AUTHORIZATION `+owner)
	execute(t, ownersPool, `ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC`)
	execute(t, ownersPool, `CREATE TABLE user_settings (id integer PRIMARY KEY, timezone text, resting_hr integer, max_hr integer, gender text);
		INSERT INTO user_settings SELECT n, 'US/Pacific', 50, 180, 'M' FROM generate_series(7, 9) AS n`)
	migrate := []string{"migrate", "up", "--with-change-capture", "--worker-role", role}
	cure := `GRANT USAGE ON SCHEMA public TO "` + role + `"`
	if _, errs, code := commands.Run(t, owners, "worker", migrate...); code != 1 || !strings.Contains(errs, cure) {
		t.Errorf("migrate up --worker-role of an owner who may not grant everything = %d, want 1 and %s: %s", code, cure, errs)
	}
	execute(t, pool, cure)
	if _, errs, code := commands.Run(t, owners, "worker", migrate...); code != 0 {
		t.Fatalf("migrate up --worker-role = %d: %s", code, errs)
	}
	settings := tokenSettings(t, ownersPool, 7, 8, 9)

	run := func(s step) {
		t.Helper()
		if s.prepare != "" {
			execute(t, ownersPool, s.prepare)
		}
		words := strings.Fields(strings.ReplaceAll(s.command, "{export}", absolute(t, "testdata/strava_export_runner.csv")))
		process := commands.Start(t, mine, settings, words[0], words[1:]...)
		code := process.Exit(t, time.Minute)
		if said := process.Log(); code != 0 || strings.Contains(said, "permission denied") || !strings.Contains(said, s.says) {
			t.Errorf("%s = %d, want 0, %q and nothing denied:\n%s", s.command, code, s.says, said)
		}
	}
	for _, s := range rolesSteps {
		run(s)
	}
	worker := commands.Start(t, mine, settings, "worker", "run")
	for _, s := range waitingSteps {
		run(s)
	}
	for _, page := range []string{"/readyz", "/metrics", "/", "/athletes", "/athlete?user=8", "/river/api/jobs", "/river/api/queues"} {
		if status, said := get(t, worker, page); status != http.StatusOK || strings.Contains(said, "permission denied") {
			t.Errorf("GET %s = %d, want 200 and nothing denied:\n%s", page, status, said)
		}
	}
	worker.Signal(t, syscall.SIGTERM)
	if code := worker.Exit(t, time.Minute); code != 0 || strings.Contains(worker.Log(), "permission denied") {
		t.Errorf("worker run = %d, want 0 and nothing denied:\n%s", code, worker.Log())
	}

	listed := append(listCommands(t, "worker"), listCommands(t, "enqueue")...)
	if len(listed) < 35 {
		t.Errorf("the help lists only %d commands: %q", len(listed), listed)
	}
	for _, command := range listed {
		runs := slices.ContainsFunc(slices.Concat(rolesSteps, waitingSteps), func(s step) bool { return strings.HasPrefix(s.command+" ", command+" ") })
		if runs == (elsewhere[command] != "") {
			t.Errorf("%s must be in exactly one of rolesSteps and elsewhere", command)
		}
	}
}

var servedAt = regexp.MustCompile(`"address":"([^"]+)"`)

// get requests a page of a running worker.
func get(t *testing.T, worker *commandtest.Process, path string) (status int, body string) {
	t.Helper()
	eventually(t, time.Minute, "pages are served", func() bool { return servedAt.MatchString(worker.Log()) })
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+servedAt.FindStringSubmatch(worker.Log())[1]+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	said, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(said)
}

// tokenSettings stores tokens of users, encrypted with key k1, and returns the settings
// with which processes refresh them at a provider and encrypt them with key k2.
func tokenSettings(t *testing.T, pool *dbpool.Pool, users ...int32) []string {
	t.Helper()
	provider := providertest.New(t, nil)
	key := func(id string) string {
		return id + ":" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat(id[1:], tokens.KeyBytes)))
	}
	ring, err := tokens.ParseKeyring(key("k1"))
	if err != nil {
		t.Fatal(err)
	}
	var operations []tokens.Operation
	for _, user := range users {
		access, refresh := provider.Authorize(user)
		operations = append(operations, tokens.Operation{UserID: user, Access: access, Refresh: refresh, ExpiresAt: time.Now().Add(24 * time.Hour)})
	}
	if _, err := tokens.New(pool, ring, dbtest.RiverSchema).Save(t.Context(), operations); err != nil {
		t.Fatal(err)
	}
	return []string{
		"TMWORKER_TOKEN_KEYS=" + key("k2") + "," + key("k1"), "TMWORKER_TOKENS_CLIENT_SECRET=" + providertest.ClientSecret,
		"TMWORKER_TOKENS_CLIENT_ID=" + providertest.ClientID, "TMWORKER_TOKENS_TOKEN_URL=" + provider.URL,
		"TMWORKER_TOKENS_LIMIT_QUARTER=1000000", "TMWORKER_TOKENS_LIMIT_DAY=1000000", // so that it never waits for the next quarter of an hour
	}
}

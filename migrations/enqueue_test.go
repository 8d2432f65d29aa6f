package migrations_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/jobs"
	"github.com/trainingmonkey/worker/migrations"
	"github.com/trainingmonkey/worker/test/dbtest"
)

func activities(n int) []jobs.Activity {
	list := make([]jobs.Activity, n)
	for i := range list {
		load := float64(i) + 0.5
		list[i] = jobs.Activity{ActivityID: 1<<40 + int64(i), UserID: int32(i + 1), Date: "2024-02-29", TotalLoadMiles: &load}
	}
	return list
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// jobRow reads what is the same of a job from one insert to the next.
func jobRow(t *testing.T, pool *dbpool.Pool, id int64) string {
	t.Helper()
	var row string
	err := pool.QueryRow(t.Context(), `
		SELECT (to_jsonb(j) - '{id,created_at,scheduled_at}'::text[] || jsonb_build_object(
			'created with the transaction', j.created_at > now() - interval '1 minute' AND j.scheduled_at = j.created_at))::text
		FROM river.river_job j WHERE id = $1`, id).Scan(&row)
	if err != nil {
		t.Fatal(err)
	}
	return row
}

// TestTextsThatJSONBRefusesAreNamed has a name that was cut inside an emoji, among a
// thousand activities, passed as programs do: as a literal and as a parameter without a
// type.
func TestTextsThatJSONBRefusesAreNamed(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	const activity = `{"activity_id": %d, "user_id": 7, "date": "2025-09-28", "name": "%s"}`
	list := make([]string, 1000)
	for i := range list {
		list[i] = fmt.Sprintf(activity, i+1, `Run \ud83d\udc4d, \\ud83d`)
	}
	all := func(list []string) string { return "[" + strings.Join(list, ",") + "]" }
	list[416] = fmt.Sprintf(activity, 9000000417, `Morning \ud83d`)
	list[998] = fmt.Sprintf(activity, 999, `a\u0000b`)
	const want = `activities[416] (activity_id 9000000417): name: holds half of a character, as a text cut inside an emoji does, got "Morning \ud83d"` + "\n" +
		`activities[998] (activity_id 999): name: holds a character that this database cannot store, got "a\u0000b"`
	_, literal := pool.Exec(t.Context(), `SELECT river.enqueue_activity_ingest('`+all(list)+`', 3)`)
	_, parameter := pool.Exec(t.Context(), `SELECT river.enqueue_activity_ingest($1)`, all(list))
	for _, err := range []error{literal, parameter} {
		fault := (*pgconn.PgError)(nil)
		if !errors.As(err, &fault) || fault.Code != "22023" || fault.Message != want {
			t.Errorf("enqueue_activity_ingest = %v, want 22023 and\n%s", err, want)
		}
	}
	list[416], list[998] = list[0], list[1]
	var job int64
	if err := pool.QueryRow(t.Context(), `SELECT river.enqueue_activity_ingest($1)`, all(list)).Scan(&job); err != nil {
		t.Errorf("whole texts: %v", err)
	}
	for _, malformed := range []string{`[{"name": "\ud83d"`, `{"name": "\ud83d"}`, `[`, ``} {
		_, err := pool.Exec(t.Context(), `SELECT river.enqueue_activity_ingest($1)`, malformed)
		if fault := (*pgconn.PgError)(nil); !errors.As(err, &fault) || fault.Code != "22P02" {
			t.Errorf("enqueue_activity_ingest(%s) = %v, want 22P02", malformed, err)
		}
	}
}

// TestFunctionsInsertWhatEnqueuerInserts compares rows and notifications.
func TestFunctionsInsertWhatEnqueuerInserts(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	enqueuer, err := jobs.NewEnqueuer(pool.Pool, dbtest.RiverSchema)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := pgx.ConnectConfig(t.Context(), pool.Config().ConnConfig)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close(context.WithoutCancel(t.Context())) })
	if _, err := listener.Exec(t.Context(), `LISTEN "river.river_insert"`); err != nil {
		t.Fatal(err)
	}
	notified := func() string {
		t.Helper()
		n, err := listener.WaitForNotification(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return n.Payload
	}
	compare := func(about string, byEnqueuer func() (int64, error), sql string, args ...any) {
		t.Helper()
		id, err := byEnqueuer()
		if err != nil {
			t.Fatal(err)
		}
		want, wantNotified := jobRow(t, pool, id), ""
		for wantNotified = notified(); !strings.Contains(wantNotified, " : "); { // sometimes River's own comes first
			wantNotified = notified()
		}
		if err := pool.QueryRow(t.Context(), sql, args...).Scan(&id); err != nil {
			t.Fatalf("%s: %v", about, err)
		}
		if diff := cmp.Diff(want, jobRow(t, pool, id)); diff != "" {
			t.Errorf("%s: row of the SQL function differs from Enqueuer's:\n%s", about, diff)
		}
		if got := notified(); got != wantNotified {
			t.Errorf("%s: notified %s, want %s", about, got, wantNotified)
		}
	}
	for _, c := range []struct{ activities, priority int }{{1, 1}, {25, 1}, {26, 1}, {1, 2}, {3, 4}, {1000, 3}} {
		args := jobs.ActivityIngest{Activities: activities(c.activities)}
		compare(fmt.Sprintf("%+v", c), func() (int64, error) {
			ids, err := enqueuer.Ingest(t.Context(), c.priority, args)
			return append(ids, 0)[0], err
		}, `SELECT river.enqueue_activity_ingest($1, $2)`, asJSON(t, args.Activities), c.priority)
	}
	args := jobs.ActivityIngest{Activities: activities(1)}
	compare("priority left out", func() (int64, error) {
		ids, err := enqueuer.Ingest(t.Context(), jobs.PriorityLive, args)
		return append(ids, 0)[0], err
	}, `SELECT river.enqueue_activity_ingest($1)`, asJSON(t, args.Activities))
	for _, priority := range []int{1, 2, 4} {
		compare(fmt.Sprintf("recalc %d", priority), func() (int64, error) {
			return enqueuer.Recalc(t.Context(), priority, jobs.ACWRRecalc{Ranges: []jobs.DateRange{{UserID: 7, From: "1900-01-01", To: "2999-12-31"}}})
		}, `SELECT river.enqueue_acwr_recalc(7, '1900-01-01', '2999-12-31', $1)`, priority)
	}
}

// TestDateStyleDoesNotMatter: args do not depend on the caller's DateStyle.
func TestDateStyleDoesNotMatter(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	got := ""
	err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), `SET LOCAL DateStyle = 'SQL, DMY'; SET LOCAL IntervalStyle = 'sql_standard'; SET LOCAL lc_time = 'C'`); err != nil {
			return err
		}
		return tx.QueryRow(t.Context(), `
			WITH inserted AS MATERIALIZED (SELECT river.enqueue_acwr_recalc(7, '2025-03-01', '2025-03-02') AS id,
				river.enqueue_activity_ingest('[{"activity_id": 1, "user_id": 1, "date": "2025-03-31"}]'))
			SELECT (SELECT id FROM inserted)::text`).Scan(&got)
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := text(t, pool, `SELECT args::text FROM river.river_job WHERE kind = 'acwr_recalc'`); got != `{"ranges": [{"to": "2025-03-02", "from": "2025-03-01", "user_id": 7}]}` {
		t.Errorf("args = %s", got)
	}
}

func TestRollbackLeavesNothing(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	changedMyMind := errors.New("changed my mind")
	err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), `SELECT river.enqueue_acwr_recalc(7, '2025-03-01', '2025-03-02'),
			river.enqueue_activity_ingest('[{"activity_id": 1, "user_id": 1, "date": "2025-03-31"}]')`); err != nil {
			return err
		}
		return changedMyMind
	})
	if !errors.Is(err, changedMyMind) {
		t.Fatal(err)
	}
	if got := text(t, pool, `SELECT count(*)::text FROM river.river_job`); got != "0" {
		t.Errorf("%s jobs after a rollback", got)
	}
}

// TestFieldsThatActivitiesDoNotHave: unknown fields are refused, all at once, each with
// the name that was probably meant; so are wrong types of known fields.
func TestFieldsThatActivitiesDoNotHave(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	enqueue := func(fields string) string {
		_, err := pool.Exec(t.Context(), `SELECT river.enqueue_activity_ingest($1)`, `[{"activity_id": 1, "user_id": 7, "date": "2025-09-28"`+fields+`}]`)
		fault := (*pgconn.PgError)(nil)
		switch {
		case err == nil:
			return ""
		case errors.As(err, &fault) && fault.Code == "22023":
			return strings.ReplaceAll(fault.Message, "activities[0]: ", "")
		}
		return err.Error()
	}
	for fields, want := range map[string]string{
		`, "load": 7.5`: "unknown field load (did you mean total_load_miles?), got 7.5",
		`, "distance": 6.2, "Trimp": 80, "mood": "good"`: "unknown field Trimp (did you mean trimp?), got 80\nunknown field distance (did you mean distance_miles?), got 6.2\n" +
			"unknown field mood, got \"good\"",
		`, "total_load_miles": "7.5", "trimp": -1, "name": 5, "partial": 1, "avg_heart_rate": {}`: "avg_heart_rate: must be a number, got {}\n" +
			"name: must be a text, got 5\npartial: must be true or false, got 1\ntotal_load_miles: must be a number, got \"7.5\"\ntrimp: must not be negative, got -1",
		`, "total_load_miles": null, "name": null, "avg_temp_f": -4, "deleted": true`: "",
		`, "notes": "tired", "seven_day_avg_load": 3, "ingest_job_id": 4`:             "", // columns that are not synced
	} {
		if got := enqueue(fields); got != want {
			t.Errorf("%s: %s\nwant %s", fields, got, want)
		}
	}

	// Every field of jobs.Activity is known, with its own type.
	var a jobs.Activity
	value, known := reflect.ValueOf(&a).Elem(), []string{}
	for i := range value.NumField() {
		name, _, _ := strings.Cut(value.Type().Field(i).Tag.Get("json"), ",")
		field := value.Field(i)
		if field.Kind() != reflect.Bool {
			known = append(known, name)
		}
		if field.Kind() == reflect.Pointer {
			field.Set(reflect.New(field.Type().Elem()))
		}
	}
	a.ActivityID, a.UserID, a.Date, a.Partial, a.DayFromUTC, a.Unloaded, a.Deleted = 1, 7, "2025-09-28", true, true, true, true
	if _, err := pool.Exec(t.Context(), `SELECT river.enqueue_activity_ingest($1)`, asJSON(t, []jobs.Activity{a})); err != nil {
		t.Errorf("every field: %v", err)
	}

	// The suggestions are those for files.
	for _, name := range []string{"load", "Distance", "hr", "avg_hr", "duration", "elevation", "moving_time", "athlete_id", "zone1", "start", "ß", "é_load", ""} {
		var bySQL string
		if err := pool.QueryRow(t.Context(), `SELECT coalesce(river.nearest_name($1, $2), '')`, name, known).Scan(&bySQL); err != nil {
			t.Fatal(err)
		}
		_, err := jobs.DecodeActivityStrictly([]byte(`{"activity_id": 1, "user_id": 7, "date": "2025-09-28", ` + asJSON(t, name) + `: 1}`))
		_, byGo, _ := strings.Cut(fmt.Sprint(err), "did you mean ")
		if byGo = strings.TrimSuffix(byGo, "?)"); byGo != bySQL {
			t.Errorf("%q: %q in Go, %q in SQL", name, byGo, bySQL)
		}
	}
}

func TestRefusedInputs(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	element := func(fields string) string {
		return `[{"activity_id": 1, "user_id": 1, "date": "2025-01-01"}, {` + fields + `}]`
	}
	date := func(value string) string { return element(`"activity_id": 1, "user_id": 1, "date": ` + value) }
	const dateRule = "activities[1]: date: must be a date that exists, as YYYY-MM-DD between 1900-01-01 and 2999-12-31, got "
	for _, c := range []struct {
		activities any
		priority   any
		want       string
	}{
		{nil, 1, "activities: must be an array, got nothing"},
		{`null`, 1, "activities: must be an array, got null"},
		{`{}`, 1, "activities: must be an array, got object"},
		{`[]`, 1, "activities: a job takes 1 to 1000, got 0"},
		{asJSON(t, activities(1001)), 1, "activities: a job takes 1 to 1000, got 1001"},
		{asJSON(t, activities(1)), 0, "priority: must be 1 (live) to 4, got 0"},
		{asJSON(t, activities(1)), 5, "priority: must be 1 (live) to 4, got 5"},
		{asJSON(t, activities(1)), nil, "priority: must be 1 (live) to 4, got nothing"},
		{`[3]`, 1, "activities[0]: must be an object, got 3"},
		{`[null, [{"activity_id": 1}]]`, 1, "activities[0]: must be an object, got null\nactivities[1]: must be an object, got [{\"activity_id\": 1}]"},
		{
			`[{}]`, 1, "activities[0]: activity_id: must be a positive integer, got nothing\n" +
				"activities[0]: user_id: must be a positive 32-bit integer, got nothing\n" + strings.Replace(dateRule, "[1]", "[0]", 1) + "nothing",
		},
		{element(`"activity_id": 0, "user_id": 1, "date": "2025-01-01"`), 1, "activities[1]: activity_id: must be a positive integer, got 0"},
		{element(`"activity_id": -5, "user_id": 1, "date": "2025-01-01"`), 1, "activities[1]: activity_id: must be a positive integer, got -5"},
		{element(`"activity_id": 9223372036854775808, "user_id": 1, "date": "2025-01-01"`), 1, "activities[1]: activity_id: must be a positive integer, got 9223372036854775808"},
		{element(`"activity_id": 1e400, "user_id": 1, "date": "2025-01-01"`), 1, "activities[1]: activity_id: must be a positive integer, got 1" + strings.Repeat("0", 59) + "..."},
		{element(`"activity_id": "7", "user_id": 1, "date": "2025-01-01"`), 1, `activities[1]: activity_id: must be a positive integer, got "7"`},
		{element(`"activity_id": 1.5, "user_id": true, "date": "2025-01-01"`), 1, "activities[1]: activity_id: must be a positive integer, got 1.5\nactivities[1]: user_id: must be a positive 32-bit integer, got true"},
		{element(`"activity_id": 1, "user_id": 2147483648, "date": "2025-01-01"`), 1, "activities[1]: user_id: must be a positive 32-bit integer, got 2147483648"},
		{date(`"2025-02-29"`), 1, dateRule + `"2025-02-29"`},
		{date(`"1900-02-29"`), 1, dateRule + `"1900-02-29"`},
		{date(`"2025-04-31"`), 1, dateRule + `"2025-04-31"`},
		{date(`"2025-13-01"`), 1, dateRule + `"2025-13-01"`},
		{date(`"1899-12-31"`), 1, dateRule + `"1899-12-31"`},
		{date(`"3000-01-01"`), 1, dateRule + `"3000-01-01"`},
		{date(`"2025-1-1"`), 1, dateRule + `"2025-1-1"`},
		{date(`"2025-01-01T00:00:00Z"`), 1, dateRule + `"2025-01-01T00:00:00Z"`},
		{date(`"2025-01-01\n"`), 1, dateRule + `"2025-01-01\n"`},
		{date(`"` + strings.Repeat("é", 100) + `"`), 1, dateRule + `"` + strings.Repeat("é", 59) + "..."},
		{date(`20250101`), 1, dateRule + "20250101"},
	} {
		_, err := pool.Exec(t.Context(), `SELECT river.enqueue_activity_ingest($1, $2)`, c.activities, c.priority)
		checkRefusal(t, fmt.Sprint(c.activities, c.priority), err, c.want)
	}
	if _, err := pool.Exec(t.Context(), `SELECT river.enqueue_activity_ingest($1)`, date(`"2025-01-01", "name": "a\u0000b"`)); err == nil {
		t.Error("a NUL byte was accepted")
	}
	for values, want := range map[string]string{
		`0, '2025-01-01', '2025-01-01', 1`:           "user_id: must be a positive integer, got 0",
		`NULL, NULL, NULL, NULL`:                     "priority: must be 1 (live) to 4, got nothing; user_id: must be a positive integer, got nothing; from_date: must lie between 1900-01-01 and 2999-12-31, got nothing; to_date: must lie between 1900-01-01 and 2999-12-31, got nothing",
		`1, '2025-01-02', '2025-01-01', 1`:           "to_date: must not lie before from_date (2025-01-02), got 2025-01-01",
		`1, '-infinity', 'infinity', 1`:              "from_date: must lie between 1900-01-01 and 2999-12-31, got -infinity; to_date: must lie between 1900-01-01 and 2999-12-31, got infinity",
		`1, '2025-01-01', '3000-01-01', 5`:           "priority: must be 1 (live) to 4, got 5; to_date: must lie between 1900-01-01 and 2999-12-31, got 3000-01-01",
		`1, '0044-03-15 BC'::date, '2025-01-01', 1 `: "from_date: must lie between 1900-01-01 and 2999-12-31, got 0044-03-15 BC",
	} {
		_, err := pool.Exec(t.Context(), `SELECT river.enqueue_acwr_recalc(`+values+`)`)
		checkRefusal(t, values, err, want)
	}
	if got := text(t, pool, `SELECT count(*)::text FROM river.river_job`); got != "0" {
		t.Errorf("%s jobs were inserted", got)
	}
}

func checkRefusal(t *testing.T, given string, err error, want string) {
	t.Helper()
	if fault := (*pgconn.PgError)(nil); !errors.As(err, &fault) || fault.Code != "22023" || fault.Message != want {
		t.Errorf("%.100s: error = %v\nwant %s", given, err, want)
	}
}

// TestEveryDayIsJudgedAsByEnqueuer tries every day from 0 to 32 of every month from 0
// to 13, in leap years and others.
func TestEveryDayIsJudgedAsByEnqueuer(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	var dates []string
	for _, year := range []int{1899, 1900, 2000, 2023, 2024, 2100, 2999, 3000} {
		for month := range 14 {
			for day := range 33 {
				dates = append(dates, fmt.Sprintf("%04d-%02d-%02d", year, month, day))
			}
		}
	}
	execute(t, pool, `
		CREATE FUNCTION river_accepts(date text) RETURNS boolean LANGUAGE plpgsql AS $$
		BEGIN
			PERFORM river.enqueue_activity_ingest(jsonb_build_array(jsonb_build_object('activity_id', 1, 'user_id', 1, 'date', date)));
			RETURN true;
		EXCEPTION WHEN invalid_parameter_value THEN RETURN false;
		END $$`)
	rows, err := pool.Query(t.Context(), `SELECT river_accepts(date) FROM unnest($1::text[]) WITH ORDINALITY AS d (date, n) ORDER BY n`, dates)
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := pgx.CollectRows(rows, pgx.RowTo[bool])
	if err != nil {
		t.Fatal(err)
	}
	for i, date := range dates {
		if _, err := jobs.ParseDate(date); (err == nil) != accepted[i] {
			t.Errorf("enqueue_activity_ingest accepts %s: %v, jobs.ParseDate says %v", date, accepted[i], err)
		}
	}
}

// TestFunctionsInAnotherSchema: the schema of River's tables is configurable.
func TestFunctionsInAnotherSchema(t *testing.T) {
	t.Parallel()
	pool := dbtest.Open(t, dbtest.New(t))
	if _, err := migrations.Up(t.Context(), pool.Pool, "queue_2"); err != nil {
		t.Fatal(err)
	}
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	if _, err := conn.Exec(t.Context(), `LISTEN "queue_2.river_insert"; SELECT queue_2.enqueue_acwr_recalc(1, '2025-01-01', '2025-01-01')`); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Conn().WaitForNotification(t.Context()); err != nil || n.Payload != `{"queue" : "recalc"}` {
		t.Errorf("notification %+v, %v", n, err)
	}
}

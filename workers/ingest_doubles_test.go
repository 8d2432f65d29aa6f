package workers

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/acwr"
	"github.com/trainingmonkey/worker/internal/athlete"
	"github.com/trainingmonkey/worker/internal/backfill"
	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/jobs"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// recorded is a run of 6 miles in an hour at seven o'clock, from one source.
func recorded(id int64, user int32, date string, load float64) jobs.Activity {
	a := run(id, user, date, load, load*10)
	a.SportType, a.StartTime, a.DistanceMiles, a.DurationMinutes = ptr("running"), ptr("07:00:00"), ptr(6.), ptr(60.)
	return a
}

// checkWeighed compares every row with the oracle and every stored result with
// acwr_series, and checks that compare and a backfill find no difference.
func checkWeighed(t *testing.T, pool *dbpool.Pool) {
	t.Helper()
	wrong, total, err := mismatches(t.Context(), pool)
	if err != nil || total > 0 {
		t.Errorf("%d rows are wrong, %v: %v", total, err, wrong)
	}
	checkSeries(t, pool)
	if report := compare(t, pool, athlete.CompareOptions{}); report.Differing > 0 {
		t.Errorf("compare finds %+v", report)
	}
	before := query[string](t, pool, versions)
	newBackfills(t, pool).create(backfill.Scope{})
	drain(t, pool)
	if query[string](t, pool, versions) != before {
		t.Error("a backfill wrote rows")
	}
}

// checkSeries compares all forms of acwr_series with what is stored.
func checkSeries(t *testing.T, pool *dbpool.Pool) {
	t.Helper()
	for form, series := range map[string]string{
		"with dates":    `acwr_series(u.user_id, '2024-12-01', '2025-06-30')`,
		"with rounding": `acwr_series(u.user_id, '2024-12-01', '2025-06-30', 'none')`,
		"without dates": `acwr_series(u.user_id)`,
	} {
		n := query[int](t, pool, `
			SELECT count(*) FROM (SELECT DISTINCT user_id FROM activities) AS u CROSS JOIN LATERAL `+series+` AS s
			JOIN activities AS a ON a.user_id = u.user_id AND a.date = s.date
			WHERE (a.seven_day_avg_load, a.twentyeight_day_avg_load, a.seven_day_avg_trimp, a.twentyeight_day_avg_trimp, a.acute_chronic_ratio, a.trimp_acute_chronic_ratio, a.normalized_divergence)
			IS DISTINCT FROM (s.seven_day_avg_load, s.twentyeight_day_avg_load, s.seven_day_avg_trimp, s.twentyeight_day_avg_trimp, s.acute_chronic_ratio, s.trimp_acute_chronic_ratio, s.normalized_divergence)`)
		if n > 0 {
			t.Errorf("%d rows differ from acwr_series %s", n, form)
		}
	}
}

func compare(t *testing.T, pool *dbpool.Pool, o athlete.CompareOptions) (report *athlete.Comparison) {
	t.Helper()
	err := pool.InTx(t.Context(), func(ctx context.Context, tx pgx.Tx) (err error) {
		report, err = athlete.Compare(ctx, tx, o)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// randomRecording draws from few values around the bounds of the rule, so that many
// activities resemble each other. Some are partial, some deletions.
func randomRecording(r *rand.Rand, users int) jobs.Activity {
	user, n := r.IntN(users)+1, r.IntN(20)
	day, load := n%6, n%3 // mostly derived from n, so that often only the compared columns change
	if r.IntN(6) == 0 {
		day, load = r.IntN(6), r.IntN(3)
	}
	date := time.Date(2025, 1, 1+10*day, 0, 0, 0, 0, time.UTC).Format(time.DateOnly)
	a := recorded(int64(user*100+n+1), int32(user), date, float64(load)*4.25+2)
	switch r.IntN(12) {
	case 0, 1:
		return deletion(a.ActivityID, a.UserID, a.Date)
	case 2:
		a.Unloaded, a.Type = true, ptr("Yoga")
		return a
	case 3, 4, 5:
		a.Partial, a.DayFromUTC = true, r.IntN(2) == 0
	}
	pick := func(texts ...string) *string {
		if i := r.IntN(len(texts) + 1); i > 0 {
			return &texts[i-1]
		}
		return nil
	}
	number := func(numbers ...float64) *float64 {
		if i := r.IntN(len(numbers) + 1); i > 0 {
			return &numbers[i-1]
		}
		return nil
	}
	if r.IntN(3) == 0 {
		a.StartTime = pick("07:05:00", "07:05:01", "12:00:00")
	}
	if r.IntN(3) == 0 {
		a.DistanceMiles = number(6.25, 6.5, 0)
	}
	if r.IntN(3) == 0 {
		a.DurationMinutes = number(58, 50, 0)
	}
	if r.IntN(3) == 0 {
		a.SportType, a.Type = pick("cycling"), pick("Run", "Ride")
	}
	if r.IntN(6) == 0 {
		a.TotalLoadMiles = nil
	}
	return a
}

// ignoring makes users 1 and 3 ignore likely doubles, and users 4 to 6 under other
// formulas.
const ignoring = `INSERT INTO acwr_settings (user_id, formula, chronic_days, decay_rate, doubles) VALUES
	(1, 'standard', 28, 0.05, 'ignore-later'), (3, 'standard', 28, 0.05, 'ignore-later'),
	(4, 'ewma', 28, 0.05, 'ignore-later'), (5, 'decay', 42, 0.1, 'ignore-later'), (6, 'uncoupled', 28, 0.05, 'count')`

// TestDoublesInAnyOrderAndBatching works the same random jobs in several databases: one
// at a time, in large batches, and with some of them long after the others.
func TestDoublesInAnyOrderAndBatching(t *testing.T) {
	t.Parallel()
	const allRows = `SELECT string_agg((to_jsonb(a) - 'ingest_job_id')::text, E'\n' ORDER BY activity_id) FROM activities AS a`
	for seed := range uint64(2) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			want := ""
			for _, way := range []string{"one at a time", "in small batches", "in large batches", "some of them later"} {
				pool := dbtest.Migrated(t)
				execute(t, pool, ignoring)
				r := rand.New(rand.NewPCG(seed, 17))
				c := config.Default()
				switch way {
				case "one at a time":
					c.Batching.MaxJobs, c.Batching.Loops = 1, 1
				case "in small batches":
					c.Batching.MaxJobs = 5
				}
				for range 12 {
					var groups [][]jobs.Activity
					for range 12 {
						var group []jobs.Activity
						for range r.IntN(4) + 1 {
							group = append(group, randomRecording(r, 3))
						}
						groups = append(groups, group)
					}
					ids := enqueue(t, pool, groups...)
					if way == "some of them later" {
						execute(t, pool, `UPDATE river.river_job SET state = 'scheduled', scheduled_at = now() + interval '1 day' WHERE id = ANY($1) AND id % 3 = 0`, ids)
						drainWith(t, pool, c)
						execute(t, pool, `UPDATE river.river_job SET state = 'available', scheduled_at = now() WHERE state = 'scheduled'`)
					}
					drainWith(t, pool, c)
					if wrong, total, err := mismatches(t.Context(), pool); err != nil || total > 0 {
						t.Fatalf("%s: %d rows are wrong, %v: %v", way, total, err, wrong)
					}
				}
				checkWeighed(t, pool)
				got := query[string](t, pool, allRows)
				if want == "" {
					want = got
				}
				if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")); diff != "" {
					t.Errorf("%s: rows (-one at a time +%[1]s):\n%s", way, diff)
				}
				if n := query[int](t, pool, `SELECT count(*) FROM river.river_job WHERE kind = 'acwr_recalc'`); n > 0 {
					t.Errorf("%s: %d recalculations were enqueued", way, n)
				}
			}
		})
	}
}

// TestDoublesUnderEveryFormula compares stored results with acwr_series, which another
// test compares with internal/acwr, and checks that doubles make a difference.
func TestDoublesUnderEveryFormula(t *testing.T) {
	t.Parallel()
	for _, rounding := range []acwr.Rounding{acwr.RoundNone, acwr.RoundApp} {
		pool := dbtest.Migrated(t)
		execute(t, pool, ignoring)
		c := config.Default()
		c.ACWR.Rounding = rounding.String()
		r := rand.New(rand.NewPCG(5, 17))
		for range 200 {
			enqueue(t, pool, []jobs.Activity{randomRecording(r, 6)})
		}
		drainWith(t, pool, c)
		execute(t, pool, `CREATE VIEW differing AS SELECT a.* FROM (SELECT DISTINCT user_id FROM activities) AS u
			CROSS JOIN LATERAL acwr_series(u.user_id, '2025-01-01', '2025-03-01', '`+rounding.String()+`') AS s
			JOIN activities AS a ON a.user_id = u.user_id AND a.date = s.date
			WHERE (a.seven_day_avg_load, a.twentyeight_day_avg_load, a.seven_day_avg_trimp, a.twentyeight_day_avg_trimp, a.acute_chronic_ratio, a.trimp_acute_chronic_ratio, a.normalized_divergence)
			IS DISTINCT FROM (s.seven_day_avg_load, s.twentyeight_day_avg_load, s.seven_day_avg_trimp, s.twentyeight_day_avg_trimp, s.acute_chronic_ratio, s.trimp_acute_chronic_ratio, s.normalized_divergence)`)
		if n := query[int](t, pool, `SELECT count(*) FROM differing`); n > 0 {
			t.Errorf("rounding %s: %d rows differ from acwr_series", rounding, n)
		}
		if report := compare(t, pool, athlete.CompareOptions{Rounding: rounding}); report.Differing > 0 {
			t.Errorf("rounding %s: compare finds %+v", rounding, report)
		}
		if report := compare(t, pool, athlete.CompareOptions{Rounding: rounding, Doubles: "count"}); report.Differing < 10 {
			t.Errorf("rounding %s: counting every activity makes a difference in %d rows only", rounding, report.Differing)
		}
	}
}

const loads = `SELECT string_agg(concat_ws(' ', activity_id, round(seven_day_avg_load::numeric * 7, 2)), ', ' ORDER BY activity_id) FROM activities WHERE user_id = 1`

// TestDoubleComesAndGoes syncs one run from a watch and from an application: each step
// changes whether the second counts, and its commit corrects the day and those that follow.
func TestDoubleComesAndGoes(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	execute(t, pool, ignoring)
	watch, phone, later := recorded(10, 1, "2025-02-01", 5), recorded(20, 1, "2025-02-01", 6), recorded(30, 1, "2025-02-03", 1)
	other := phone
	other.StartTime = ptr("18:00:00")
	slower := phone
	slower.DurationMinutes = ptr(70.)
	farther := phone
	farther.DistanceMiles = ptr(7.)
	cycled := phone
	cycled.SportType = ptr("cycling")
	partial := jobs.Activity{ActivityID: 20, UserID: 1, Date: "2025-02-01", Partial: true, StartTime: ptr("07:03:00")}
	light := watch
	light.TotalLoadMiles, light.Trimp = ptr(0.), ptr(0.)
	for _, step := range []struct {
		name     string
		activity jobs.Activity
		want     string
	}{
		{"the watch", watch, "10 5.00"},
		{"the application", phone, "10 5.00, 20 5.00"},
		{"a run two days later", later, "10 5.00, 20 5.00, 30 6.00"},
		{"another start", other, "10 11.00, 20 11.00, 30 12.00"},
		{"a start within five minutes, and nothing else", partial, "10 5.00, 20 5.00, 30 6.00"},
		{"another duration", slower, "10 11.00, 20 11.00, 30 12.00"},
		{"the application again", phone, "10 5.00, 20 5.00, 30 6.00"},
		{"another distance", farther, "10 11.00, 20 11.00, 30 12.00"},
		{"the application once more", phone, "10 5.00, 20 5.00, 30 6.00"},
		{"another sport", cycled, "10 11.00, 20 11.00, 30 12.00"},
		{"as it was", phone, "10 5.00, 20 5.00, 30 6.00"},
		{"the watch without load", light, "10 0.00, 20 0.00, 30 1.00"},
		{"the watch is deleted", deletion(10, 1, "2025-02-01"), "20 6.00, 30 7.00"},
		{"the watch again", watch, "10 5.00, 20 5.00, 30 6.00"},
	} {
		enqueue(t, pool, []jobs.Activity{step.activity})
		drain(t, pool)
		if got := query[string](t, pool, loads); got != step.want {
			t.Errorf("after %s the week's loads are %s, want %s", step.name, got, step.want)
		}
	}
	if n := query[int](t, pool, `SELECT count(*) FROM river.river_job WHERE kind <> 'activity_ingest'`); n > 0 {
		t.Errorf("%d jobs followed", n)
	}
	before := query[string](t, pool, versions)
	enqueue(t, pool, []jobs.Activity{watch, phone, later})
	drain(t, pool)
	if query[string](t, pool, versions) != before {
		t.Error("rows that were up to date were written")
	}

	for _, setting := range []struct{ sql, want string }{
		{`UPDATE acwr_settings SET doubles = 'count' WHERE user_id = 1`, "10 11.00, 20 11.00, 30 12.00"},
		{`UPDATE acwr_settings SET doubles = 'ignore-later' WHERE user_id = 1`, "10 5.00, 20 5.00, 30 6.00"},
		{`DELETE FROM acwr_settings WHERE user_id = 1`, "10 11.00, 20 11.00, 30 12.00"},
		{`UPDATE acwr_settings SET doubles = 'ignore-later' WHERE user_id = 0`, "10 5.00, 20 5.00, 30 6.00"},
	} {
		execute(t, pool, setting.sql)
		drain(t, pool)
		if got := query[string](t, pool, loads); got != setting.want {
			t.Errorf("after %s the week's loads are %s, want %s", setting.sql, got, setting.want)
		}
		checkWeighed(t, pool)
	}
}

// statementCounter counts the statements that were not sent in a batch.
type statementCounter struct{ compared, others atomic.Int32 }

func (c *statementCounter) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	if strings.Contains(data.SQL, "read_compared") {
		c.compared.Add(1)
	} else {
		c.others.Add(1)
	}
	return ctx
}

func (c *statementCounter) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// TestDoublesCostOthersNothing: the columns by which doubles are recognized are read
// only for athletes who ignore doubles, once in a batch.
func TestDoublesCostOthersNothing(t *testing.T) {
	t.Parallel()
	url := dbtest.MigratedURL(t)
	var counter statementCounter
	o := dbtest.Options(url)
	o.Tracer = &counter
	pool, err := dbpool.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	execute(t, pool, ignoring)
	var others, allUsers []jobs.Activity
	for i := range int64(50) {
		others = append(others, recorded(i+1, 2, "2025-02-01", 5))
		allUsers = append(allUsers, recorded(1000+i, 1+int32(i%2), "2025-02-01", 5))
	}
	enqueue(t, pool, others)
	drain(t, pool)
	if n := counter.compared.Load(); n > 0 || counter.others.Load() == 0 {
		t.Errorf("%d statements compared activities of an athlete who counts all of them", n)
	}
	enqueue(t, pool, allUsers)
	drain(t, pool)
	if n := counter.compared.Load(); n != 1 {
		t.Errorf("%d statements compared the activities of a batch, want 1", n)
	}
	checkWeighed(t, pool)
}

package athlete_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgtype"
	"pgregory.net/rapid"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/athlete"
	"github.com/trainingmonkey/worker/internal/trainingload"
	"github.com/trainingmonkey/worker/test/dbtest"
)

func execute(t *testing.T, pool *dbpool.Pool, sql string, args ...any) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// anyRecording draws values around every bound of the rule, and missing ones.
func anyRecording(r *rapid.T) trainingload.Recording {
	single := func(x float64) float64 { return float64(float32(x)) }
	number := rapid.OneOf(
		rapid.SampledFrom([]float64{math.NaN(), math.Inf(1), math.Inf(-1), -1, 0, 57, 59.85, 60, 63, 63.157894}),
		rapid.Map(rapid.IntRange(5690, 6330), func(n int) float64 { return single(float64(n) / 100) }),
		rapid.Map(rapid.Float32Range(0, 200), func(x float32) float64 { return float64(x) }),
	)
	return trainingload.Recording{
		Sport: rapid.SampledFrom([]string{"", "running", "running", "cycling"}).Draw(r, "sport"),
		Type:  rapid.SampledFrom([]string{"", "Run", "Run", "run", "Ride"}).Draw(r, "type"),
		Start: rapid.SampledFrom([]string{
			"", "07:00:00", "07:00:00", "07:04:59", "07:05:00", "07:05:01", "06:55:00", "06:54:59", "00:00:01", "23:59:59", "24:00:00", "07:60:00",
			"7:00:00", "07:00", "07:00:00 ", "07:00:00\n", "at seven", "٠٧:٠٠:٠٠",
		}).Draw(r, "start"),
		Miles: number.Draw(r, "miles"), Minutes: number.Draw(r, "minutes"),
	}
}

// mostlyLike copies most of a's fields to b, because two independent recordings hardly
// ever resemble each other.
func mostlyLike(r *rapid.T, a, b trainingload.Recording) trainingload.Recording {
	fields := rapid.SliceOfN(rapid.IntRange(0, 3), 5, 5).Draw(r, "other fields")
	if fields[0] > 0 {
		b.Sport = a.Sport
	}
	if fields[1] > 0 {
		b.Type = a.Type
	}
	if fields[2] > 0 {
		b.Start = a.Start
	}
	if fields[3] > 0 {
		b.Miles = a.Miles
	}
	if fields[4] > 0 {
		b.Minutes = a.Minutes
	}
	return b
}

// TestRuleIsTheSameInSQL compares trainingload.Resembles with acwr_resembles, in both
// orders, on thousands of pairs.
func TestRuleIsTheSameInSQL(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	pairs, alike := 0, 0
	rapid.Check(t, func(r *rapid.T) {
		const n = 100
		recordings := make([]trainingload.Recording, 2*n)
		var texts [3][]pgtype.Text
		var numbers [2][]pgtype.Float4
		for i := range recordings {
			recordings[i] = anyRecording(r)
			if i >= n {
				recordings[i] = mostlyLike(r, recordings[i-n], recordings[i])
			}
			for c, s := range []string{recordings[i].Sport, recordings[i].Type, recordings[i].Start} {
				texts[c] = append(texts[c], pgtype.Text{String: s, Valid: s != "" || rapid.Bool().Draw(r, "stated")})
			}
			for c, x := range []float64{recordings[i].Miles, recordings[i].Minutes} {
				numbers[c] = append(numbers[c], pgtype.Float4{Float32: float32(x), Valid: !math.IsNaN(x) || rapid.Bool().Draw(r, "stated")})
			}
		}
		var there, back []bool
		err := pool.QueryRow(t.Context(), `
			WITH r AS (SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::real[], $5::real[]) WITH ORDINALITY AS r (sport, type, start, miles, minutes, n))
			SELECT array_agg(acwr_resembles(a.sport, a.type, a.start, a.miles, a.minutes, b.sport, b.type, b.start, b.miles, b.minutes) ORDER BY a.n),
			       array_agg(acwr_resembles(b.sport, b.type, b.start, b.miles, b.minutes, a.sport, a.type, a.start, a.miles, a.minutes) ORDER BY a.n)
			FROM r AS a JOIN r AS b ON b.n = a.n + $6`, texts[0], texts[1], texts[2], numbers[0], numbers[1], n).Scan(&there, &back)
		if err != nil {
			r.Fatal(err)
		}
		for i := range n {
			a, b := recordings[i], recordings[n+i]
			// The columns are of type real.
			a.Miles, a.Minutes, b.Miles, b.Minutes = float64(float32(a.Miles)), float64(float32(a.Minutes)), float64(float32(b.Miles)), float64(float32(b.Minutes))
			want := trainingload.Resembles(a, b)
			if there[i] != want || back[i] != want || trainingload.Resembles(b, a) != want {
				r.Fatalf("%+v and %+v: %v, in SQL %v and %v", a, b, want, there[i], back[i])
			}
			pairs++
			if want {
				alike++
			}
		}
	})
	if alike < pairs/20 || alike > pairs/2 || pairs < 5000 {
		t.Errorf("%d of %d pairs are alike, too few to compare", alike, pairs)
	}
}

// TestList stores three recordings of one training, the last two doubles of the first,
// beside activities that are no doubles: on another day, of another athlete, without a
// start.
func TestList(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	execute(t, pool, `
		INSERT INTO activities (activity_id, user_id, date, name, type, sport_type, start_time, distance_miles, duration_minutes, total_load_miles, trimp) VALUES
			(1, 7, '2025-09-20', 'Watch', 'Run', 'running', '07:00:00', 6.2, 60, 6.9, 80),
			(3, 7, '2025-09-20', 'Phone', 'Run', 'running', '07:02:00', 6.3, 61.5, 7, NULL),
			(2, 7, '2025-09-20', NULL, NULL, 'running', '07:05:00', 6.1, 59, 6.8, 79.5),
			(4, 7, '2025-09-20', 'Evening', 'Run', 'running', '18:00:00', 6.2, 60, 6.9, 80),
			(5, 7, '2025-09-21', 'Watch', 'Run', 'running', '07:00:00', 6.2, 60, 6.9, 80),
			(6, 8, '2025-09-20', 'Watch', 'Run', 'running', '07:00:00', 6.2, 60, 6.9, 80),
			(7, 7, '2025-09-21', 'Unknown', 'Run', 'running', NULL, 6.2, 60, 6.9, 80)`)
	third := athlete.Double{UserID: 7, Date: "2025-09-20", ActivityID: 3, Name: ptr("Phone"), Type: ptr("Run"), StartTime: "07:02:00", Miles: 6.3, Minutes: 61.5, LoadMiles: 7, EarlierID: 1, Counts: true}
	second := athlete.Double{UserID: 7, Date: "2025-09-20", ActivityID: 2, StartTime: "07:05:00", Miles: 6.1, Minutes: 59, LoadMiles: 6.8, Trimp: 79.5, EarlierID: 1, Counts: true}
	day := func(s string) *time.Time {
		d, err := time.Parse(time.DateOnly, s)
		if err != nil {
			t.Fatal(err)
		}
		return &d
	}
	for name, c := range map[string]struct {
		user     int32
		from, to *time.Time
		limit    int
		want     []athlete.Double
	}{
		"all":          {7, nil, nil, 10, []athlete.Double{third, second}},
		"newest":       {7, nil, nil, 1, []athlete.Double{third}},
		"of the day":   {7, day("2025-09-20"), day("2025-09-20"), 10, []athlete.Double{third, second}},
		"later":        {7, day("2025-09-21"), nil, 10, []athlete.Double{}},
		"before":       {7, nil, day("2025-09-19"), 10, []athlete.Double{}},
		"another user": {8, nil, nil, 10, []athlete.Double{}},
	} {
		got, err := athlete.ListDoubles(t.Context(), pool, c.user, c.from, c.to, c.limit)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	for _, setting := range []string{
		`UPDATE acwr_settings SET doubles = 'ignore-later' WHERE user_id = 0`,
		`UPDATE acwr_settings SET doubles = 'count' WHERE user_id = 0; INSERT INTO acwr_settings (user_id, doubles) VALUES (7, 'ignore-later')`,
	} {
		execute(t, pool, setting)
		if got, err := athlete.ListDoubles(t.Context(), pool, 7, nil, nil, 1); err != nil || got[0].Counts {
			t.Errorf("after %s: %+v, %v, want that it does not count", setting, got, err)
		}
	}
	if _, err := pool.Exec(t.Context(), `UPDATE acwr_settings SET doubles = 'ignore'`); err == nil || !strings.Contains(err.Error(), "doubles_are_counted_or_ignored") {
		t.Errorf("an unknown setting: %v", err)
	}
}

func ptr[T any](v T) *T { return &v }

package python

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/trainingmonkey/worker/internal/activityfile"
	"github.com/trainingmonkey/worker/internal/trainingload"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// stravaTypes are Strava's own types, and spellings that are hard to split into words.
var stravaTypes = strings.Fields(`Run TrailRun Walk Hike VirtualRun Ride GravelRide EBikeRide EMountainBikeRide MountainBikeRide VirtualRide Velomobile Handcycle
	Swim Rowing VirtualRow Kayaking Canoeing StandUpPaddling BackcountrySki NordicSki RollerSki AlpineSki Snowboard WeightTraining Workout Crossfit
	HighIntensityIntervalTraining Yoga Pilates Golf Surfing Sail Windsurf Kitesurf IceSkate InlineSkate Snowshoe Soccer Tennis Elliptical StairStepper
	OpenWaterSwim open_water_swim indoor_rowing PoolRunning PrideWalk CrowPose HIIT eBike XCSkiing HorsebackRiding`)

// stravaList has every type with many values, and activities without the optional fields.
func stravaList() (list []map[string]any) {
	quantities := []float64{0, 0.1, 12.3, 1609.344, 5000, 10000.7, 42195}
	for i, kind := range append(stravaTypes, "") {
		for j := range 24 {
			n := i*24 + j
			a := map[string]any{
				"id": 12_000_000_000 + n, "sport_type": kind, "name": "Läuft 🏃 " + kind, "has_heartrate": j%7 != 3,
				"start_date": "2026-01-31T05:30:00Z", "start_date_local": "2026-01-30T22:30:00Z", "distance": quantities[n%7], "total_elevation_gain": quantities[(n/3)%5] / 7,
				"moving_time": 60 * (n % 61), "elapsed_time": 4000 + n, "average_speed": float64(n%90) / 9, "average_heartrate": 90 + float64(n%97)*1.3, "max_heartrate": 150 + n%40,
				"average_temp": n%50 - 10, "perceived_exertion": float64(n%24) / 2, "device_name": "Watch", "kudos_count": 3,
			}
			absent := []string{"sport_type", "moving_time", "elapsed_time", "average_heartrate", "total_elevation_gain", "average_temp", "device_name", "distance", "has_heartrate", "name", "average_speed"}
			if j%2 == 1 {
				delete(a, absent[n%len(absent)])
			}
			if j%5 == 4 {
				a[absent[(n+3)%len(absent)]] = nil
			}
			if j%3 == 0 {
				a["type"] = "Run"
			}
			list = append(list, a)
		}
	}
	return list
}

// TestConversionIsTheImports: sync() converts Strava's list like `enqueue ingest`,
// digit for digit, in the athlete's time zone and in Strava's.
func TestConversionIsTheImports(t *testing.T) {
	t.Parallel()
	app, pool := newApplication(t, "psycopg2"), dbtest.Migrated(t)
	list, err := json.Marshal(stravaList())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "list.json")
	if err := os.WriteFile(file, list, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, zone := range []string{"", "Australia/Adelaide"} {
		o, how := activityfile.Options{Format: activityfile.StravaAPI, UserID: 7, Unloaded: true}, []string{"convert", file}
		if zone != "" {
			if o.Location, err = time.LoadLocation(zone); err != nil {
				t.Fatal(err)
			}
			how = append(how, zone)
		}
		imported := readAll(t, file, o)
		var converted []map[string]any
		if err := json.Unmarshal([]byte(app.use(t, pool, how...)), &converted); err != nil {
			t.Fatal(err)
		}
		if len(imported) != len(converted) || len(imported) < 1000 {
			t.Fatalf("%d activities were imported, %d converted", len(imported), len(converted))
		}
		differ := 0
		for i := range imported {
			if diff := cmp.Diff(imported[i], converted[i]); diff != "" && differ < 5 {
				t.Errorf("activity %d in zone %q (-import +sync):\n%s", i, zone, diff)
				differ++
			}
		}
	}
}

// readAll returns what `enqueue ingest` would enqueue from a file, as JSON.
func readAll(t *testing.T, file string, o activityfile.Options) (all []map[string]any) {
	t.Helper()
	r, err := activityfile.Open(file, nil, o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	for {
		a, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		var fields map[string]any
		if err := json.Unmarshal(text, &fields); err != nil {
			t.Fatal(err)
		}
		all = append(all, fields)
	}
}

// TestSync: unreadable activities are skipped only on request, and reported with the
// reason.
func TestSync(t *testing.T) {
	t.Parallel()
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			app, pool := newApplication(t, driver), dbtest.Migrated(t)
			want(t, app.use(t, pool, "sync"), "activities[1]: id: must be a positive integer, got None\n"+
				"activities[2]: start_date_local: must be a time that exists, as 2026-01-31T16:20:00Z, got '2025-02-30T07:00:00Z'\n"+
				"activities[3]: distance: must not be negative, got -1\nactivities[4]: moving_time: must be a number, got 'x'\n"+
				"activities[5]: start_date_local: is required unless a time zone is set and start_date is given\n2 5", "sync")
			want(t, text(t, pool, jobsQuery), "ingest_bulk 1000, ingest_bulk 499", "jobs")
			drain(t, pool)
			want(t, text(t, pool, `SELECT concat_ws(' ', count(*), min(total_load_miles), max(start_time), bool_and(acute_chronic_ratio = 4)) FROM activities`), "1499 6.21 07:00:00 t", "stored")
		})
	}
}

// TestSyncTakesEnteredHeartRates: TRIMP is computed by what the athlete has entered, by the
// application's defaults for what is missing, and not at all by what makes no sense.
func TestSyncTakesEnteredHeartRates(t *testing.T) {
	t.Parallel()
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			app, pool := newApplication(t, driver), dbtest.Migrated(t)
			execute(t, pool, `CREATE TABLE user_settings (id integer PRIMARY KEY, resting_hr integer, max_hr integer, gender text, strava_access_token text)`)
			execute(t, pool, `INSERT INTO user_settings VALUES (1, 51, 191, 'Female'), (2, 0, NULL, ' m '), (3, NULL, 200, NULL), (4, 190, 180, 'male')`)
			app.use(t, pool, "heart_rates")
			trimp := func(resting, highest float64, gender trainingload.Gender) string {
				h := trainingload.HeartRate{Resting: resting, Max: highest, Gender: gender}
				return strconv.FormatFloat(trainingload.TRIMP(60, 150, h), 'f', -1, 64)
			}
			entered := []string{
				trimp(51, 191, trainingload.Female), trimp(44, 178, trainingload.Male), trimp(44, 200, trainingload.Male), "none",
				trimp(44, 178, trainingload.Male), trimp(60, 180, trainingload.Female), "none",
			}
			want(t, text(t, pool, `SELECT string_agg(coalesce(args->'activities'->0->>'trimp', 'none'), ' ' ORDER BY id) FROM river.river_job`), strings.Join(entered, " "), "TRIMP of the athletes")
		})
	}
}

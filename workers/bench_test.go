package workers

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/trainingmonkey/worker/internal/acwr"
	"github.com/trainingmonkey/worker/jobs"
)

// syncedArgs is the JSON of a job with a user's activities of consecutive days.
func syncedArgs(tb testing.TB, user int32, activities int) []byte {
	tb.Helper()
	var args jobs.ActivityIngest
	for i := range activities {
		args.Activities = append(args.Activities, jobs.Activity{
			ActivityID: int64(user)*1000 + int64(i), UserID: user, Date: toDate(20_000 + int32(i)).Format("2006-01-02"),
			Name: new("Morning Run"), Type: new("Run"), SportType: new("running"), DistanceMiles: new(6.21), ElevationGainFeet: new(984.25),
			TotalLoadMiles: new(7.53), Trimp: new(129.36), AvgHeartRate: new(150.0), DurationMinutes: new(60.0), StartTime: new("07:30:00"),
		})
	}
	text, err := json.Marshal(args)
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

func BenchmarkDecodeIngestArgs(b *testing.B) {
	for _, activities := range []int{1, 100} {
		b.Run(fmt.Sprintf("%d", activities), func(b *testing.B) {
			text := syncedArgs(b, 7, activities)
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := decodeIngest(text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDecodeRecalcArgs(b *testing.B) {
	text, err := json.Marshal(jobs.ACWRRecalc{Ranges: []jobs.DateRange{{UserID: 7, From: "2025-09-01", To: "2025-09-28"}}})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decodeRecalc(text); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPlan plans a full batch of jobs with one new activity each.
func BenchmarkPlan(b *testing.B) {
	const batch = 500
	items := make([]ingestItem, batch)
	for i := range items {
		args, err := decodeIngest(syncedArgs(b, int32(i)+1, 1))
		if err != nil {
			b.Fatal(err)
		}
		items[i] = args.items[0]
	}
	in := &ingester{recalculator: &recalculator{write: writeOn, rolloutPercent: 100}}
	b.ReportAllocs()
	for b.Loop() {
		plan := newIngestPlan(map[int64]storedActivity{}, map[versionKey]recordedVersion{}, map[userDay][]restDay{})
		for i := range items {
			plan.add(int64(i)+1, &items[i])
		}
		results := in.results(plan, storedState{settings: settingsByUser{0: {Settings: acwr.Settings{Formula: acwr.Standard, ChronicDays: 28}}}}, nil)
		added, _ := plan.upserts()
		if _, err := added.args(results); err != nil || len(plan.removals()) > 0 || len(added.activities) != batch || len(results.own) != batch {
			b.Fatal(err, len(added.activities), len(results.own))
		}
	}
}

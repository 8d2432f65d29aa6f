package workers

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/trainingmonkey/worker/jobs"
)

// version is one version of activity 1 of user 7, as JSON.
type version map[string]any

var anyVersion = rapid.Custom(func(t *rapid.T) version {
	v := version{"activity_id": 1, "user_id": 7, "date": rapid.SampledFrom([]string{"2025-01-01", "2025-01-02"}).Draw(t, "date")}
	maybe := func(field string, values ...any) {
		if value := rapid.SampledFrom(append(values, nil)).Draw(t, field); value != nil {
			v[field] = value
		}
	}
	switch rapid.SampledFrom([]string{"whole", "whole", "partial", "partial", "unloaded", "deleted"}).Draw(t, "kind") {
	case "deleted":
		v["deleted"] = true
		return v
	case "unloaded":
		v["unloaded"], v["type"] = true, "Yoga"
		return v
	case "partial":
		v["partial"] = true
	}
	if rapid.Bool().Draw(t, "day from UTC") {
		v["day_from_utc"] = true
	}
	maybe("name", "a", "b")
	maybe("type", "Run", "Ride")
	maybe("device_name", "watch")
	maybe("time_in_zone1", 60., 120.)
	maybe("total_load_miles", 5., 6.)
	maybe("elevation_gain_feet", 100.)
	maybe("trimp", 0., 50., 60.)
	if v["trimp"] != nil && v["trimp"] != 0. {
		maybe("trimp_calculation_method", "average", "stream")
	}
	maybe("start_time", "08:00:00", "23:00:00")
	return v
})

// foldInOrder is what the row holds after all versions in order: nil for no row.
func foldInOrder(all []version) version {
	var row version
	for _, v := range all {
		switch {
		case v["deleted"] == true:
			row = nil
		case v["unloaded"] == true && row != nil:
			for field, value := range map[string]any{"type": v["type"], "total_load_miles": 0., "elevation_load_miles": 0., "trimp": 0., "trimp_calculation_method": "none"} {
				row[field] = value
			}
			moveDay(row, v)
		case v["unloaded"] == true:
		case v["partial"] == true && row != nil:
			for field, value := range v {
				switch field {
				case "partial", "day_from_utc", "date", "start_time", "trimp", "trimp_calculation_method":
				case "total_load_miles":
					if v["day_from_utc"] != true || v["elevation_gain_feet"] != nil || row[field] == nil {
						row[field] = value
					}
				default:
					row[field] = value
				}
			}
			moveDay(row, v)
			moveTRIMP(row, v)
		default:
			row = maps.Clone(v)
			delete(row, "partial")
		}
	}
	return row
}

func moveDay(row, v version) {
	if v["day_from_utc"] == true && row["day_from_utc"] != true && row["start_time"] != nil {
		return
	}
	row["date"] = v["date"]
	if v["start_time"] != nil {
		row["start_time"] = v["start_time"]
	}
	delete(row, "day_from_utc")
	if v["day_from_utc"] == true {
		row["day_from_utc"] = true
	}
}

func moveTRIMP(row, v version) {
	trimp, method := v["trimp"], v["trimp_calculation_method"]
	stored := row["trimp_calculation_method"]
	switch {
	case trimp == nil:
	case trimp == 0. && row["trimp"] != nil:
	case method == "average" && stored != nil && stored != "none" && stored != "average":
	default:
		row["trimp"] = trimp
		if method != nil {
			row["trimp_calculation_method"] = method
		}
	}
}

// tables stands for what the plan reads and writes, without a database.
type tables struct {
	row      *jobs.Activity
	version  int64
	alone    bool
	recorded map[versionKey]recordedVersion
}

// work works a batch; rest are the jobs that wait.
func (s *tables) work(t *rapid.T, batch, rest []int64, all []version) {
	stored := map[int64]storedActivity{}
	if s.row != nil {
		row := storedActivity{userID: 7, version: s.version, decision: decision{
			Date: daysSinceEpoch(s.row.Date), Start: orZero(s.row.StartTime), FromUTC: s.row.DayFromUTC, Method: orZero(s.row.TrimpCalculationMethod),
		}}
		if s.row.TotalLoadMiles != nil {
			row.Load = ptr(float32(*s.row.TotalLoadMiles))
		}
		if s.row.Trimp != nil {
			row.TRIMP = ptr(float32(*s.row.Trimp))
		}
		if s.alone {
			data, err := json.Marshal(s.row)
			if err != nil {
				t.Fatal(err)
			}
			row.alone = ptr(string(data))
		}
		stored[1] = row
	}
	plan := newIngestPlan(stored, s.recorded, nil)
	for _, id := range batch {
		data, err := json.Marshal(all[id-1])
		if err != nil {
			t.Fatal(err)
		}
		args, err := decodeIngest(fmt.Appendf(nil, `{"activities":[%s]}`, data))
		if err != nil || args.items[0].fault != nil {
			t.Fatal(err, args.items[0].fault)
		}
		plan.add(id, &args.items[0])
	}
	before := asMap(s.row)
	if len(plan.removals()) > 0 {
		s.row, s.version, s.alone = nil, 0, false
	}
	added, kept := plan.upserts()
	written := map[int64]bool{}
	for i, a := range added.activities {
		s.row, s.version, s.alone, written[1] = a, added.versions[i], added.alone[i] != nil, true
	}
	for i, a := range kept.activities {
		next := *a
		if kept.keeps[i] {
			old := asMap(s.row)
			for field, value := range asMap(a) {
				old[field] = value
			}
			delete(old, "day_from_utc")
			if day := kept.days[i]; day != nil && *day || day == nil && s.row.DayFromUTC {
				old["day_from_utc"] = true
			}
			next = old.activity(t)
		}
		alone := kept.alone[i] != nil || kept.keeps[i] && s.alone
		if next.Partial = false; alone != s.alone || !cmp.Equal(asMap(&next), before) {
			s.row, s.version, s.alone, written[1] = &next, kept.versions[i], alone, true
		}
	}
	record := func(records versionRecords) {
		for i := range records.jobIDs {
			if !records.replaces[i] && !slices.ContainsFunc(rest, func(id int64) bool { return id < slices.Max(batch) }) {
				continue // no older version can still come
			}
			key := versionKey{records.userIDs[i], records.activityIDs[i]}
			old := s.recorded[key]
			if old.jobID < records.jobIDs[i] || old.jobID == records.jobIDs[i] && records.layers[i] != nil {
				s.recorded[key] = recordedVersion{records.jobIDs[i], records.layers[i]}
			}
		}
	}
	record(plan.tombstones())
	record(plan.confirmed(written))
}

func asMap(a *jobs.Activity) version {
	if a == nil {
		return nil
	}
	data, _ := json.Marshal(a) // a struct of plain fields
	var v version
	_ = json.Unmarshal(data, &v)
	delete(v, "partial")
	delete(v, "unloaded")
	return v
}

func (v version) activity(t *rapid.T) (a jobs.Activity) {
	data, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(data, &a)
	}
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestVersionsGiveTheSameRowInAnyOrderAndBatching: whole and partial versions, versions
// that remove a load, and deletions.
func TestVersionsGiveTheSameRowInAnyOrderAndBatching(t *testing.T) {
	t.Parallel()
	for range 20 { // a check is 100 tries and takes 10 ms
		rapid.Check(t, sameRowInAnyOrder)
	}
}

func sameRowInAnyOrder(t *rapid.T) {
	all := rapid.SliceOfN(anyVersion, 1, 6).Draw(t, "versions")
	ids := make([]int64, len(all))
	for i := range ids {
		ids[i] = int64(i) + 1
	}
	order := rapid.Permutation(ids).Draw(t, "order")
	s := &tables{recorded: map[versionKey]recordedVersion{}}
	for len(order) > 0 {
		n := rapid.IntRange(1, len(order)).Draw(t, "batch")
		batch := slices.Clone(order[:n])
		if rapid.Bool().Draw(t, "sorted") {
			slices.Sort(batch)
		}
		order = order[n:]
		s.work(t, batch, order, all)
	}
	var want version
	if folded := foldInOrder(all); folded != nil {
		a := folded.activity(t)
		want = asMap(&a)
	}
	if diff := cmp.Diff(want, asMap(s.row)); diff != "" {
		t.Fatalf("the row (-want +got):\n%s", diff)
	}
}

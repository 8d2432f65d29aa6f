package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

const good = `{"activity_id":1,"user_id":7,"date":"2025-09-28","total_load_miles":6.2}` + "\n"

const csvHeader = "Activity ID,Activity Date,Activity Name,Activity Type,Elapsed Time,Distance\n"

// TestBadInput: input that cannot be valid is a usage error, before anything is enqueued.
func TestBadInput(t *testing.T) {
	pool := migrated(t)
	for _, c := range []struct {
		about   string
		name    string
		content string
		args    []string
		want    string // in stderr; FILE is the path
	}{
		{"malformed line", "a.ndjson", good + `{"activity_id":2,"user_id":7,"date":"2025-09-28"`, nil, "FILE:2: malformed JSON"},
		{"wrong header", "a.csv", "a,b,c\n1,2,3\n", []string{"--user", "7"}, "FILE:1: the header lacks Activity ID"},
		{"unknown content", "a.txt", "hello", nil, "FILE: cannot determine the format from the content"},
		{"unknown field", "a.ndjson", `{"activity_id":1,"user_id":7,"date":"2025-09-28","mood":1}`, nil, `FILE:1: unknown field "mood"`},
		{"impossible date", "a.ndjson", good + strings.Replace(good, "09-28", "02-30", 1), nil, "FILE:2: date: must be a date that exists"},
		{"NaN", "a.ndjson", strings.Replace(good, "6.2", "NaN", 1), nil, `FILE:1: malformed JSON: invalid character 'N' looking for beginning of value at byte 69: "\"total_load_miles\":N"`},
		{"infinity", "a.ndjson", strings.Replace(good, "6.2", "Infinity", 1), nil, `FILE:1: malformed JSON: invalid character 'I'`},
		{"NaN in a cell", "a.csv", csvHeader + `1,"Oct 6, 2022, 11:19:20 PM",x,Run,60,NaN`, []string{"--user", "7"}, "FILE:2: distance: must be"},
		{"infinity in a cell", "a.csv", csvHeader + `1,"Oct 6, 2022, 11:19:20 PM",x,Run,inf,1`, []string{"--user", "7"}, "FILE:2: elapsed time: must be"},
		{"overflows real", "a.ndjson", strings.Replace(good, "6.2", "1e39", 1), nil, "FILE:1: total_load_miles: must lie between 0 and 1e+09, got 1e+39"},
		{"overflows float", "a.ndjson", strings.Replace(good, "6.2", "1e400", 1), nil, "FILE:1: total_load_miles: "},
		{"NUL", "a.ndjson", `{"activity_id":1,"user_id":7,"date":"2025-09-28","name":"a\u0000b"}`, nil, "FILE:1: name: holds a NUL byte"},
		{"bare NUL", "a.ndjson", "{\"activity_id\":1,\"user_id\":7,\"date\":\"2025-09-28\",\"name\":\"a\x00b\"}", nil, "FILE:1: malformed JSON"},
		{"invalid UTF-8", "a.ndjson", "{\"activity_id\":1,\"user_id\":7,\"date\":\"2025-09-28\",\"name\":\"a\xffb\"}", nil, "FILE:1: name: is not valid UTF-8"},
		{"no id", "a.ndjson", `{"user_id":7,"date":"2025-09-28"}`, nil, "FILE:1: activity_id: must be a positive integer"},
		{"no id in a cell", "a.csv", csvHeader + `,"Oct 6, 2022, 11:19:20 PM",x,Run,60,1`, []string{"--user", "7"}, "FILE:2: activity id: is required"},
		{"no user", "a.ndjson", `{"activity_id":1,"date":"2025-09-28"}`, nil, "FILE:1: user_id: is required in every activity unless --user"},
		{"Strava's without user", "a.csv", csvHeader, nil, "name the user with --user"},
		{"another user", "a.ndjson", good, []string{"--user", "8"}, "FILE:1: user_id: belongs to another user: is 7, but --user is 8"},
		{"second of a list", "a.json", "[\n" + good + ",\n" + `{"activity_id":2,"user_id":7,"date":"x"}]`, nil, "FILE:4: activity 2: date: "},
		{"list cut off", "a.json", "[" + good, nil, "FILE:2: malformed JSON: the file ends within the list"},
		{"empty", "a.ndjson", "", nil, "FILE: is empty"},
		{"blank", "a.ndjson", " \n\n", nil, "FILE: is empty"},
	} {
		t.Run(c.about, func(t *testing.T) {
			path := file(t, c.name, c.content)
			got := enqueue(t, append([]string{"ingest", path}, c.args...)...)
			got.want(t, 2, strings.ReplaceAll(c.want, "FILE", path), "nothing was enqueued")
			if n := query[int](t, pool, countJobs); n != 0 {
				t.Errorf("%d jobs were enqueued", n)
			}
		})
	}
	missing := filepath.Join(t.TempDir(), "missing.json")
	enqueue(t, "ingest", missing).want(t, 2, missing+": no such file", "nothing was enqueued")
	directory := t.TempDir()
	enqueue(t, "ingest", directory).want(t, 2, directory+": is a directory", "nothing was enqueued")
	if n := query[int](t, pool, countJobs); n != 0 {
		t.Errorf("%d jobs were enqueued", n)
	}
}

// many is more activities than one insert has.
const many = portionSize + 500

func manyActivities(user int) string {
	var s strings.Builder
	for i := range many {
		fmt.Fprintf(&s, `{"activity_id":%d,"user_id":%d,"date":"2025-09-28","total_load_miles":1}`+"\n", user*1_000_000+i+1, user)
	}
	return s.String()
}

// TestBadInputBehindInserts: the fault is found when the transaction has already
// inserted chunks.
func TestBadInputBehindInserts(t *testing.T) {
	pool := migrated(t)
	all := manyActivities(7)
	lastIsBad := file(t, "last.ndjson", strings.TrimSuffix(all, `"total_load_miles":1}`+"\n")+`"total_load_miles":-1}`)
	allGood := file(t, "good.ndjson", all)
	tooShort := file(t, "second.json", "[")
	for _, c := range []struct {
		about string
		files []string
		want  string
	}{
		{"last record", []string{lastIsBad}, fmt.Sprintf("%s:%d: total_load_miles: must lie between", lastIsBad, many)},
		{"second file", []string{allGood, tooShort}, tooShort + ":1: malformed JSON"},
		{"second file is missing", []string{allGood, allGood + "x"}, allGood + "x: no such file"},
	} {
		t.Run(c.about, func(t *testing.T) {
			const sequence = `SELECT last_value FROM river.river_job_id_seq`
			before := query[int](t, pool, sequence)
			enqueue(t, append([]string{"ingest"}, c.files...)...).want(t, 2, c.want, "nothing was enqueued")
			if n := query[int](t, pool, countJobs); n != 0 {
				t.Errorf("%d jobs were enqueued", n)
			}
			if after := query[int](t, pool, sequence); after <= before {
				t.Error("nothing was inserted before the fault, so this tests nothing")
			}
		})
	}
}

func TestBadFlags(t *testing.T) {
	t.Setenv("DATABASE_URL", nowhere)
	for _, c := range []struct {
		args string
		want string
	}{
		{"ingest", "name a file to read, or - for stdin; see: enqueue ingest --help"},
		{"ingest - -", "stdin (-) can be read only once"},
		{"ingest --format xml x", "--format must be one of auto, ndjson, json, strava-api, strava-export"},
		{"ingest --gender x x", `--gender must be M, F, male or female, got "x"`},
		{"ingest --timezone Mars/Base x", "--timezone: must be a name of the IANA database"},
		{"ingest --resting-hr 190 --max-hr 180 x", "--resting-hr, --max-hr: "},
		{"ingest --max-hr NaN x", "--resting-hr, --max-hr: "},
		{"ingest --chunk 0 x", "--chunk: must be 1 to 1000, got 0"},
		{"ingest --chunk 1001 x", "--chunk: must be 1 to 1000, got 1001"},
		{"ingest --user -7 x", "--user: must be positive, got -7"},
		{"ingest --user x x", `"--user"`},
		{"ingest --usr 7 x", "unknown flag: --usr; see: enqueue ingest --help"},
		{"ingest --config missing.yaml x", "missing.yaml: no such file"},
		{"ingst x", `unknown command "ingst"`},
		{"acwr", "--user is required"},
		{"acwr --user 0", "--user is required"},
		{"acwr --user 7 8", "see: enqueue acwr --help"},
		{"acwr --user 7 --from 2025-02-30", "--from must be a date that exists"},
		{"recalc", "--user is required"},
		{"recalc --user 7 --to yesterday", "--to must be a date that exists"},
		{"recalc --user 7 --from 2025-02-02 --to 2025-01-01", "--to 2025-01-01 lies before --from 2025-02-02"},
	} {
		t.Run(c.args, func(t *testing.T) { enqueue(t, strings.Fields(c.args)...).want(t, 2, c.want) })
	}
	enqueue(t, "ingest", "--chunk", "0", "--user", "-1", "x").want(t, 2, "--chunk", "--user")
}

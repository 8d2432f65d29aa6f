package web_test

import (
	"context"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/test/dbtest"
)

func TestAthletePage(t *testing.T) {
	t.Parallel()
	r := newRig(t, dbtest.MigratedURL(t))
	r.fill()
	r.exec(`INSERT INTO activities (activity_id, user_id, date, total_load_miles) VALUES (2098, 9, '2098-01-01', 5)`)
	today := time.Now().UTC().Format(time.DateOnly)
	for query, c := range map[string]struct {
		status int
		want   string
	}{
		"":                                       {200, "User id"},
		"?user=7":                                {200, " to " + today + ", last 0.00 by load"},
		"?user=9":                                {200, "1 activity is dated after today (" + today + "): 2098-01-01."},
		"?user=8":                                {200, "This athlete has no activities."},
		"?user=7&from=2025-03-01&to=2025-03-31":  {200, "ACWR of athlete 7 from 2025-03-01 to 2025-03-31, last "},
		"?user=7&from=2001-01-01&to=2025-01-31":  {200, "ACWR of athlete 7 from 2025-01-01 to 2025-01-31, last "},
		"?user=7&from=2020-01-01&to=2020-01-31":  {200, "no activities in this time: the first is of 2025-01-01."},
		"?user=7&to=2025-01-01":                  {200, "ACWR of athlete 7 from 2025-01-01 to 2025-01-01, last 4.00 by load"},
		"?user=-1":                               {400, "user must be a positive whole number below 2147483648, got &#34;-1&#34;."},
		"?user=2147483648":                       {400, "user must be a positive whole number"},
		"?user=%22%3E%3Cscript%3Ex":              {400, "&gt;&lt;script&gt;x"},
		"?user=7%27%3BDROP+TABLE+athletes-":      {400, "user must be a positive whole number"},
		"?user=7&from=yesterday":                 {400, "from must be a date as 2025-01-31, got &#34;yesterday&#34;."},
		"?user=7&to=2025-02-30":                  {400, "to must be a date as 2025-01-31, got &#34;2025-02-30&#34;."},
		"?user=7&day=0":                          {400, "day must be a date as 2025-01-31, got &#34;0&#34;."},
		"?user=x&from=y":                         {400, "from must be a date as 2025-01-31, got &#34;y&#34;."}, // all faults at once
		"?user=7&from=2025-02-01&to=2025-01-31":  {400, "from (2025-02-01) must not be after to (2025-01-31)."},
		"?user=7&from=1900-01-01&to=2025-01-31":  {400, "from (1900-01-01) must be at most 14639 days before to (2025-01-31)."},
		"?user=7&from=2098-01-01&to=2098-01-31":  {200, "31 days: the day lies after today"},
		"?user=7&from=0001-01-01&to=0001-01-02":  {200, "no activities in this time"},
		"?user=7&from=2025-03-01&day=2025-03-01": {200, `<h2 id="day">Activities of 2025-03-01</h2>`},
	} {
		got := r.get("/athlete" + query)
		if got.Code != c.status || !strings.Contains(got.Body.String(), c.want) {
			t.Errorf("/athlete%s = %d, want %d with %q\n%s", query, got.Code, c.status, c.want, got.Body)
		}
	}
	if got := r.get("/athlete?user=7").Body.String(); !strings.Contains(got, `Today, </span><b data-value="date">`+today+"</b>") || !strings.Contains(got, `<strong data-value="ratio">0.00</strong>`) {
		t.Errorf("an athlete who stopped training is not at 0 today:\n%s", got)
	}
	r.exec(`INSERT INTO activities (activity_id, user_id, date, total_load_miles) VALUES (1000010, 10, (now() AT TIME ZONE 'UTC')::date - 2, 5)`)
	got := r.get("/athlete?user=10").Body.String()
	for _, want := range []string{
		`<rect class="short_history" x="0%" width="100%"`, `<rect class="no_heart_rate" x="0%" width="33.33%" y="96%"`,
		"3 days: the window begins before the first activity", "1 day: an activity counts as a TRIMP of 0", `<span class="tag">short_history</span>`,
		"Ratios above 3 are drawn at the top",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the page of a new athlete lacks %q:\n%s", want, got)
		}
	}
	if n := strings.Count(got, `aria-current="true"`); n != 1 {
		t.Errorf("%d ranges of a new athlete are marked, want one", n)
	}
	if text := r.get("/athlete?user=7&to=2025-12-31").Body.String(); !strings.Contains(text, "stale") || !strings.Contains(text, `class="band-usual"`) {
		t.Errorf("the page shows neither the stale day nor the band:\n%s", text)
	}
}

// TestAthletePageIsWithinItsPolicy: script and stylesheet are files of the server, and
// nothing is inline.
func TestAthletePageIsWithinItsPolicy(t *testing.T) {
	t.Parallel()
	r := newRig(t, dbtest.MigratedURL(t))
	r.fill()
	for path, want := range map[string]string{"/athlete.js": "text/javascript; charset=utf-8", "/athlete.css": "text/css; charset=utf-8"} {
		if got := r.get(path); got.Code != http.StatusOK || got.Header().Get("Content-Type") != want || got.Body.Len() < 1000 {
			t.Errorf("%s = %d, %s, %d bytes", path, got.Code, got.Header().Get("Content-Type"), got.Body.Len())
		}
	}
	got := r.get("/athlete?user=7&day=2025-03-01&to=2025-12-31")
	page := strings.Replace(got.Body.String(), `<script src="/athlete.js" defer></script>`, "", 1)
	if page == got.Body.String() || !strings.Contains(got.Header().Get("Content-Security-Policy"), "script-src 'self';") {
		t.Error("the page has no script, or its policy forbids it")
	}
	for _, never := range []string{"<script", "<style", "style=", "onclick", "http://", "https://", "ZgotmplZ", "%!", "NaN", "Inf"} {
		if strings.Contains(page, never) {
			t.Errorf("the page has %q", never)
		}
	}
}

var (
	daysInPage  = regexp.MustCompile(` data-days="([^"]*)" data-first="([^"]*)"`)
	rangeInPage = regexp.MustCompile(`<a href="([^"]*)"( aria-current="true")?>(3 months|1 year|all)</a>`)
)

// TestAthletePageHasTheSeries compares every value of every day, and of the table, with
// SQL's, under every formula and both roundings.
func TestAthletePageHasTheSeries(t *testing.T) {
	t.Parallel()
	r := newRig(t, dbtest.MigratedURL(t))
	r.exec(`INSERT INTO activities (activity_id, user_id, date, total_load_miles, trimp, avg_heart_rate)
		SELECT u * 1000 + i, u, '2024-01-01'::date + i - i % 3, (random() * 20)::real, CASE WHEN i % 7 > 0 THEN (random() * 150)::real END, nullif(i % 7, 0)
		FROM generate_series(1, 4) AS u, generate_series(0, 700) AS i`)
	r.exec(`INSERT INTO acwr_settings (user_id, formula, chronic_days, decay_rate) VALUES (2, 'uncoupled', 28, 0.05), (3, 'ewma', 42, 0.05), (4, 'decay', 42, 0.07)`)
	for _, c := range []struct{ rounding, query, from, to string }{
		{"none", "&from=2024-01-01&to=2025-11-30", "2024-01-01", "2025-11-30"},
		{"app", "&to=2025-11-30", "2024-12-01", "2025-11-30"},
	} {
		r.options.Rounding = c.rounding
		for user := range 4 {
			page := r.get(fmt.Sprintf("/athlete?user=%d%s", user+1, c.query)).Body.String()
			found := daysInPage.FindStringSubmatch(page)
			if found == nil || found[2] != c.from {
				t.Fatalf("user %d: no days from %s on:\n%s", user+1, c.from, page)
			}
			rows, err := r.pool.Query(t.Context(), `
				SELECT date::text, total_load_miles, seven_day_avg_load::float8, twentyeight_day_avg_load::float8, acute_chronic_ratio::float8,
				       trimp, seven_day_avg_trimp::float8, twentyeight_day_avg_trimp::float8, trimp_acute_chronic_ratio::float8, array_to_string(quality, ','),
				       EXISTS (SELECT FROM activities AS a WHERE a.user_id = $1 AND a.date = s.date) AS stale
				FROM acwr_series($1, $2, $3, $4) AS s ORDER BY date`, user+1, c.from, c.to, c.rounding)
			if err != nil {
				t.Fatal(err)
			}
			days := strings.Split(html.UnescapeString(found[1]), ";")
			var date, quality string
			var stale bool
			v := make([]float64, 8)
			i := 0
			_, err = pgx.ForEachRow(rows, []any{&date, &v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &v[6], &v[7], &quality, &stale}, func() error {
				want := ""
				for j, digits := range []int{2, 2, 2, 2, 1, 1, 1, 2} {
					want += strconv.FormatFloat(v[j], 'f', digits, 64) + " "
				}
				if stale {
					quality = strings.TrimSuffix("stale,"+quality, ",")
				}
				if want += quality; i < len(days) && !near(days[i], want) {
					t.Errorf("%s, user %d, %s: the page has %q, want %q", c.rounding, user+1, date, days[i], want)
				}
				i++
				return nil
			})
			if err != nil || i != len(days) || i < 365 {
				t.Errorf("%s, user %d: %d days, want %d, %v", c.rounding, user+1, len(days), i, err)
			}
			last := strings.Fields(days[len(days)-1])
			if !strings.Contains(page, ">"+c.to+"</b>") || !strings.Contains(page, `data-value="ratio">`+last[3]+"<") || !strings.Contains(page, `<td class="n strong">`+last[3]+"</td>") {
				t.Errorf("user %d: neither the line of values nor the table ends with %s and %s", user+1, c.to, last[3])
			}
		}
	}
}

// near reports whether two days are equal up to the last digit of a day's sum, which is
// exact on the page and a double in SQL.
func near(got, want string) bool {
	g, w := strings.Split(got, " "), strings.Split(want, " ")
	if len(g) != len(w) || g[8] != w[8] {
		return false
	}
	for i := range 8 {
		a, errA := strconv.ParseFloat(g[i], 64)
		b, errB := strconv.ParseFloat(w[i], 64)
		off := 0.0
		switch i {
		case 0:
			off = 0.011
		case 4:
			off = 0.11
		}
		if errA != nil || errB != nil || max(a-b, b-a) > off {
			return false
		}
	}
	return true
}

// TestAthletePageOfTenYears draws a range too long for a bar per day: quickly, in a
// page of bounded size, and without losing its highest day.
func TestAthletePageOfTenYears(t *testing.T) {
	t.Parallel()
	r := newRig(t, dbtest.MigratedURL(t))
	r.exec(`INSERT INTO activities (activity_id, user_id, date, total_load_miles, trimp)
		SELECT i, 7, '2015-01-01'::date + i, CASE i WHEN 1996 THEN 300 WHEN 2002 THEN 500 ELSE 5 END, 50 FROM generate_series(0, 3651) AS i`)
	began := time.Now()
	got := r.get("/athlete?user=7&from=2015-01-01&to=2024-12-31")
	took := time.Since(began)
	page := got.Body.String()
	if got.Code != http.StatusOK || took > 3*time.Second || len(page) > 1<<20 {
		t.Errorf("ten years are %d, %d bytes, after %v", got.Code, len(page), took)
	}
	if titles := strings.Count(page, "<title>2"); titles != 3*522 {
		t.Errorf("%d columns in three charts, want 522 weeks in each", titles)
	}
	for _, want := range []string{"a bar is the mean of a week", ">2016</text>", ">2024</text>", "at most 4.00 and", "<title>2020-06-24 to 2020-06-30: Load 75.71, 7 d 75.71, chronic"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	curve := regexp.MustCompile(`<path class="load-acute" d="([^"]*)"`).FindStringSubmatch(page)
	if curve == nil || strings.Count(curve[1], "L") > 1700 || !strings.Contains(curve[1], ",7.35L") { // 117.86 of 127.2, on a single day
		t.Errorf("the curve has too many points, or lacks the highest: %v", curve)
	}
	t.Logf("%d bytes after %v", len(page), took)
	if short := r.get("/athlete?user=7&from=2024-01-01&to=2024-12-31").Body.String(); strings.Contains(short, "mean of a week") || !strings.Contains(short, ">2024</text>") || !strings.Contains(short, ">Feb</text>") {
		t.Error("a year has no bar per day, or no months")
	}
	if weeks := r.get("/athlete?user=7&from=2024-11-01&to=2024-11-30").Body.String(); !strings.Contains(weeks, ">4 Nov</text>") {
		t.Error("a month has no weeks")
	}
}

// TestAthletePageLinksRanges: three months, a year and all; the current one is marked.
func TestAthletePageLinksRanges(t *testing.T) {
	t.Parallel()
	r := newRig(t, dbtest.MigratedURL(t))
	r.exec(`INSERT INTO activities (activity_id, user_id, date, total_load_miles) SELECT i, 7, current_date - i, 5 FROM generate_series(0, 1000) AS i`)
	seen := map[string]int{}
	path := "/athlete?user=7"
	for _, want := range []struct {
		shown string
		days  [2]int
	}{{"1 year", [2]int{365, 366}}, {"3 months", [2]int{89, 92}}, {"all", [2]int{1001, 1002}}, {"1 year", [2]int{365, 366}}} {
		page := r.get(path).Body.String()
		found := daysInPage.FindStringSubmatch(page)
		if found == nil {
			t.Fatalf("%s does not say how many days it shows:\n%s", path, page)
		}
		if n := strings.Count(found[1], ";") + 1; n < want.days[0] || n > want.days[1] {
			t.Errorf("%s shows %d days, want %s", path, n, want.shown)
		}
		next := ""
		for _, link := range rangeInPage.FindAllStringSubmatch(page, -1) {
			if (link[2] != "") != (link[3] == want.shown) {
				t.Errorf("%s: %q is marked %q", path, link[3], link[2])
			}
			if seen[link[3]]++; map[string]string{"1 year": "3 months", "3 months": "all", "all": "1 year"}[want.shown] == link[3] {
				next = html.UnescapeString(link[1])
			}
		}
		path = next
	}
	if len(seen) != 3 {
		t.Errorf("links = %v", seen)
	}
}

// TestAthletePageBeside: each part shows one athlete's data, and another athlete's page
// shows none of it.
func TestAthletePageBeside(t *testing.T) {
	t.Parallel()
	r := newRig(t, dbtest.MigratedURL(t))
	if page := r.get("/athlete?user=7").Body.String(); !strings.Contains(page, "user_settings</code> are not there") || !strings.Contains(page, "None names this athlete.") {
		t.Errorf("an empty database has settings, or jobs:\n%s", page)
	}
	r.exec(`CREATE TABLE user_settings (id integer PRIMARY KEY, resting_hr integer, max_hr integer, gender text, timezone varchar, strava_access_token text)`)
	r.exec(`INSERT INTO user_settings VALUES (7, 51, 191, 'female', 'Europe/Berlin', 'secret')`)
	r.exec(`INSERT INTO activities (activity_id, user_id, date, name, type, start_time, distance_miles, elevation_gain_feet, duration_minutes, avg_heart_rate, total_load_miles, trimp, acute_chronic_ratio)
		VALUES (71, 7, '2025-03-01', '<b>Hills', 'Run', '07:30:00', 6.21, 984, 60, 150, 7.53, 106.7, 4), (81, 8, '2025-03-01', 'Flat', 'Run', NULL, NULL, NULL, NULL, NULL, 5, NULL, NULL)`)
	r.exec(`INSERT INTO acwr_settings (user_id, formula, chronic_days, decay_rate) VALUES (7, 'decay', 42, 0.07)`)
	r.exec(`INSERT INTO ingest_rejects (job_id, user_id, activity_id, payload, reason) VALUES (1, 7, 4711, '{}', 'date must be <i>')`)
	r.exec(`INSERT INTO river.river_job (state, kind, queue, args, max_attempts) VALUES
		('available', 'activity_ingest', 'ingest', '{"activities": [{"user_id": 6}, {"user_id": 7}]}', 25), ('retryable', 'token_refresh', 'tokens', '{"user_ids": [7]}', 25)`)
	page := r.get("/athlete?user=7&from=2025-02-01&to=2025-03-31&day=2025-03-01").Body.String()
	wants := []string{
		"decay: the mean of 7 days by that of 42 days, in which a day weighs e^(−0.07) of the next, by the athlete's own", "resting heart rate 51", "maximal heart rate 191", "gender female", "time zone Europe/Berlin",
		`<th scope="row">71</th><td>07:30:00</td><td>&lt;b&gt;Hills</td><td>Run</td><td class="n">6.21</td><td class="n">984</td><td class="n">60</td><td class="n">150</td><td class="n">7.53</td><td class="n">106.7</td><td class="n">4.00</td>`,
		"activity_ingest</span>", "token_refresh</span>", `<span class="tag">retryable</span>`, `<td>4711</td>`, "date must be &lt;i&gt;",
	}
	for _, want := range wants {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(page, "secret") || strings.Contains(page, "Flat") {
		t.Error("the page shows a token, or another athlete's activity")
	}
	if t.Failed() {
		t.Log(page)
	}
	other := r.get("/athlete?user=8&day=2025-03-01").Body.String()
	for _, want := range []string{"standard: the mean of 7 days by that of 28 days, these included, the default of", "resting heart rate 44 (nothing is entered)", "time zone UTC (nothing is entered)", "<td>Flat</td>", `<td class="n">–</td>`} {
		if !strings.Contains(other, want) {
			t.Errorf("the other page lacks %q:\n%s", want, other)
		}
	}
	for _, never := range []string{"4711", "Hills", "token_refresh", "decay"} {
		if strings.Contains(other, never) {
			t.Errorf("the other page has %q", never)
		}
	}
}

// TestAthletePageWithoutItsSettings: a role that can read only what the series needs of
// the application's table sees the page.
func TestAthletePageWithoutItsSettings(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.MigratedURL(t)
	r := newRig(t, databaseURL)
	role := "page_of_" + r.pool.Config().ConnConfig.Database
	quoted := pgx.Identifier{role}.Sanitize()
	r.exec(`CREATE TABLE user_settings (id integer PRIMARY KEY, timezone varchar, resting_hr integer)`)
	r.exec(`INSERT INTO activities (activity_id, user_id, date, total_load_miles) VALUES (1, 7, current_date, 5)`)
	r.exec(`CREATE ROLE ` + quoted)
	t.Cleanup(func() {
		_, _ = r.pool.Exec(context.WithoutCancel(t.Context()), `DROP OWNED BY `+quoted+`; DROP ROLE `+quoted)
	})
	r.exec(`GRANT USAGE ON SCHEMA river TO ` + quoted + `; GRANT SELECT ON ALL TABLES IN SCHEMA public, river TO ` + quoted)
	r.exec(`REVOKE SELECT ON user_settings FROM ` + quoted + `; GRANT SELECT (id, timezone) ON user_settings TO ` + quoted)
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("role", role)
	u.RawQuery = q.Encode()
	r.options.Pool = dbtest.Open(t, u.String())
	got := r.get("/athlete?user=7")
	if got.Code != http.StatusOK || !strings.Contains(got.Body.String(), "user_settings may not be read by the worker&#39;s role") {
		t.Errorf("the page is %d:\n%s", got.Code, got.Body)
	}
}

// TestAthletePagesWithTheDatabaseAway: the pages are served, and say that the database
// does not answer.
func TestAthletePagesWithTheDatabaseAway(t *testing.T) {
	t.Parallel()
	through, proxy := proxied(t, dbtest.MigratedURL(t))
	r := newRig(t, through)
	proxy.Stop()
	for _, path := range []string{"/athlete?user=7&from=2025-01-01", "/athletes"} {
		got := r.get(path)
		if page := got.Body.String(); got.Code != http.StatusServiceUnavailable || !strings.Contains(page, "The database did not answer. Try again.") || strings.Contains(page, "no activities") || strings.Contains(page, "There are no athletes") {
			t.Errorf("%s = %d\n%s", path, got.Code, page)
		}
	}
}

// TestAthletePageListsDoubles: a run recorded twice, before and after the athlete
// ignores doubles.
func TestAthletePageListsDoubles(t *testing.T) {
	t.Parallel()
	r := newRig(t, dbtest.MigratedURL(t))
	r.exec(`INSERT INTO activities (activity_id, user_id, date, name, sport_type, start_time, distance_miles, duration_minutes, total_load_miles)
		SELECT 9000 + i, 7, current_date - 1, '<b>' || i, 'running', '07:00:00', 6 + i / 10.0, 60, 6 FROM generate_series(1, 2) AS i`)
	counts := r.get("/athlete?user=7").Body.String()
	r.exec(`UPDATE acwr_settings SET doubles = 'ignore-later'`)
	ignored := r.get("/athlete?user=7").Body.String()
	for text, wants := range map[string][]string{
		counts:  {"They count like other activities.", `<td class="n">12.00</td>`},
		ignored: {"They weigh nothing:", `<td class="n">6.00</td>`},
	} {
		for _, want := range append(wants, `<span class="tag">likely_double</span>`, `<rect class="likely_double"`, `<td>07:00:00</td><td>&lt;b&gt;2</td><td class="n">9002</td><td class="n">9001</td><td class="n">6.20</td>`) {
			if !strings.Contains(text, want) {
				t.Errorf("the page lacks %q:\n%s", want, text)
			}
		}
	}
	if text := r.get("/athlete?user=8").Body.String(); strings.Contains(text, "likely_double") || strings.Contains(text, `id="doubles"`) {
		t.Errorf("the page of an athlete without doubles mentions them:\n%s", text)
	}
}

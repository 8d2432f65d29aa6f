package web_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/trainingmonkey/worker/test/dbtest"
)

// TestAthletesOutsideTheBand: the page lists the athletes in training who are outside
// the band today, and says which it read if there are too many.
func TestAthletesOutsideTheBand(t *testing.T) {
	t.Parallel()
	r := newRig(t, dbtest.MigratedURL(t))
	if page := r.get("/athletes").Body.String(); !strings.Contains(page, "There are no athletes.") {
		t.Errorf("an empty database has athletes:\n%s", page)
	}
	r.exec(`INSERT INTO activities (activity_id, user_id, date, type, total_load_miles)
		SELECT u * 1000 + i, u, (now() AT TIME ZONE 'UTC')::date - i, CASE WHEN u = 6 AND i < 40 THEN 'rest' ELSE 'Run' END, CASE WHEN u = 6 AND i < 40 THEN 0 ELSE 5 END
		FROM generate_series(1, 6) AS u, generate_series(0, 59) AS i
		WHERE u = 1              -- as always: 1
		   OR u = 2 AND i >= 5   -- rests: 0.35
		   OR u = 3 AND i < 10   -- began: 2.8
		   OR u = 4 AND i >= 30  -- stopped training: not shown
		   OR u = 5 AND i = 0    -- began today: 4
		   OR u = 6              -- stopped, with rest days since`)
	r.exec(`INSERT INTO activities (activity_id, user_id, date, total_load_miles) VALUES (7000, 7, '2098-01-01', 5)`)
	page := r.get("/athletes").Body.String()
	for _, want := range []string{"3 of 4 who trained within 28 days", "All 7 athletes were read.", `>5</a></th>`, `<td class="n strong">2.80</td><td><span class="tag band-high">above 1.5</span></td>`, `<span class="tag band-low">below 0.8</span>`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	var order []string
	for _, link := range regexp.MustCompile(`/athlete\?user=(\d+)"`).FindAllStringSubmatch(page, -1) {
		order = append(order, link[1])
	}
	if got := strings.Join(order, " "); got != "5 3 2" {
		t.Errorf("athletes %s, want 5 3 2: the one who trained last is first", got)
	}
	for query, want := range map[string]string{
		"?below=x": "below must be a user id, a positive whole number below 2147483648, got &#34;x&#34;.",
		"?below=3": "These are 2 athletes, with ids from 2 down to 1, and not all. <a href=\"/athletes\">", "?below=1": "There are no athletes with ids below 1.",
	} {
		if text := r.get("/athletes" + query).Body.String(); !strings.Contains(text, want) {
			t.Errorf("/athletes%s lacks %q:\n%s", query, want, text)
		}
	}
	r.exec(`INSERT INTO activities (activity_id, user_id, date, total_load_miles) SELECT i * 1000, i, current_date, 5 FROM generate_series(1001, 1600) AS i`)
	for query, want := range map[string]string{"": "with ids from 1600 down to 1101, and not all. <a href=\"/athletes?below=1101\">", "?below=1101": "These are 107 athletes, with ids from 1100 down to 1, and not all."} {
		if text := r.get("/athletes" + query).Body.String(); !strings.Contains(text, want) {
			t.Errorf("/athletes%s lacks %q", query, want)
		}
	}
	if t.Failed() {
		t.Log(page)
	}
}

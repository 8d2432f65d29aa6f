//go:build browser

package web_test

import (
	"bytes"
	"cmp"
	"context"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/trainingmonkey/worker/internal/oracle"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/jobs"
	"github.com/trainingmonkey/worker/test/dbtest"
)

var pictures = flag.String("pictures", "", "`directory` to which the documentation's pictures of pages are written")

// sampled has the demo's athletes, and one who began a month ago.
func sampled(t *testing.T, databaseURL string, change ...func(*config.Config)) *rig {
	t.Helper()
	r := newRig(t, databaseURL, change...)
	for activities := range slices.Chunk(oracle.SampleActivities(), jobs.MaxActivitiesPerJob) {
		r.enqueue(activities...)
	}
	if err := r.service.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.exec(`INSERT INTO activities (activity_id, user_id, date, name, type, sport_type, start_time, distance_miles, duration_minutes, total_load_miles, trimp)
		SELECT i + 1, 7, (now() AT TIME ZONE 'UTC')::date - i, 'Run', 'Run', 'running', '07:00:00', 5, 40, 5, CASE WHEN i % 5 > 0 THEN 60 END FROM generate_series(0, 25) AS i`)
	r.exec(`INSERT INTO activities (activity_id, user_id, date, name, type, sport_type, start_time, distance_miles, duration_minutes, total_load_miles, trimp)
		SELECT 100, 7, (now() AT TIME ZONE 'UTC')::date - 3, 'Run', 'Run', 'running', '07:01:00', 5, 40, 5, 60`)
	r.exec(`INSERT INTO activities (activity_id, user_id, date, total_load_miles, trimp) SELECT 200 + i, 8, (now() AT TIME ZONE 'UTC')::date - i, 5, 60 FROM generate_series(0, 4) AS i`)
	r.exec(`INSERT INTO ingest_rejects (job_id, user_id, activity_id, payload, reason) VALUES (1, 7, 4711, '{}', 'total_load_miles: must be a finite number, got 1e999')`)
	r.exec(`INSERT INTO river.river_job (state, kind, queue, args, max_attempts, scheduled_at) VALUES ('scheduled', 'activity_ingest', 'ingest', '{"activities": [{"user_id": 7}]}', 25, now() + interval '1 day')`)
	return r
}

// TestAthletePagesInABrowser opens every state of the athlete pages, in both schemes,
// wide and narrow.
func TestAthletePagesInABrowser(t *testing.T) {
	ctx := browser(t)
	full, shadow := sampled(t, dbtest.MigratedURL(t)), newRig(t, dbtest.MigratedURL(t), func(c *config.Config) { c.ACWR.Write = "compare" })
	shadow.exec(`INSERT INTO activities (activity_id, user_id, date, total_load_miles, trimp) SELECT i, 7, (now() AT TIME ZONE 'UTC')::date - i, 5, 60 FROM generate_series(0, 99) AS i`)
	shadow.run()
	shadow.waitForReason("", noticed)
	through, proxy := proxied(t, dbtest.MigratedURL(t))
	away := newRig(t, through)
	proxy.Stop()
	bases := map[string]string{"full": full.serve(), "shadow": shadow.serve(), "away": away.serve()}
	today := time.Now().UTC().Format(time.DateOnly)
	for _, c := range []struct{ name, base, path, says string }{
		{"none", "full", "/athlete", "User id"},
		{"empty", "full", "/athlete?user=99", "This athlete has no activities."},
		{"bad dates", "full", "/athlete?user=2&from=x&to=y", "to must be a date"},
		{"two years", "full", "/athlete?user=2&from=2024-01-01&to=2025-12-31&day=2025-12-30", "a bar is the mean of a week"},
		{"a quarter", "full", "/athlete?user=5&from=2025-10-01&to=2025-12-31", "3 months"},
		{"beginner", "full", "/athlete?user=7&day=" + today, "short_history"},
		{"outside", "full", "/athletes", "1 of 2 who trained"},
		{"shadow", "shadow", "/athlete?user=7", "not written"},
		{"away", "away", "/athlete?user=7", "The database did not answer."},
	} {
		for _, width := range []int64{390, 1280} {
			for _, dark := range []bool{false, true} {
				if c.base != "shadow" && !strings.Contains(c.path, "-") && dark == (width > 390) {
					continue // a page with little on it needs only two of the four views
				}
				scheme := map[bool]string{false: "light", true: "dark"}[dark]
				l := view{name: fmt.Sprintf("athlete-%s-%s-%d", strings.ReplaceAll(c.name, " ", "-"), scheme, width), path: bases[c.base] + c.path, width: width, dark: dark, says: c.says, refused: c.name == "bad dates" || c.name == "away"}
				t.Run(l.name, func(t *testing.T) { l.check(t, ctx) })
			}
		}
	}
}

const readoutScript = `[...document.querySelectorAll("[data-value]")].map(e => e.dataset.value + "=" + (e.href || e.textContent)).join(" ")`

// TestAthleteReadoutInABrowser selects days by pointer and keyboard, and compares the
// readouts with SQL; without scripts the charts have titles.
func TestAthleteReadoutInABrowser(t *testing.T) {
	ctx := browser(t)
	r := sampled(t, dbtest.MigratedURL(t))
	base := r.serve()
	s := listen(t, ctx)
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	const path = "/athlete?user=2&from=2025-11-01&to=2025-12-31"
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(1280, 800), chromedp.Navigate(base+path), chromedp.WaitVisible(chromedp.CSS(`[role="slider"]`))); err != nil {
		t.Fatal(err)
	}
	shows := func(date string) {
		t.Helper()
		var want, marks string
		err := r.pool.QueryRow(t.Context(), `
			SELECT format('date=%s', date),
			       to_char(total_load_miles, 'FM9990.00') || ' ' || to_char(acute_chronic_ratio, 'FM9990.00') || ' ' || to_char(trimp_acute_chronic_ratio, 'FM9990.00')
			FROM acwr_series(2, $1::date, $1::date)`, date).Scan(&want, &marks)
		if err != nil {
			t.Fatal(err)
		}
		v := strings.Fields(marks)
		got := evaluate[string](t, ctx, readoutScript)
		for _, part := range []string{want, " load=" + v[0] + " ", " ratio=" + v[1] + " ", " trimp-ratio=" + v[2] + " ", "day=" + date} {
			if !strings.Contains(got+" ", part) {
				t.Errorf("%s: the page shows %q, want %q", date, got, part)
			}
		}
		if text := evaluate[string](t, ctx, `document.querySelector('[role="slider"]').getAttribute("aria-valuetext")`); !strings.HasPrefix(text, date+": ACWR "+v[1]) {
			t.Errorf("%s is read out as %q", date, text)
		}
	}
	shows("2025-12-31")
	if err := chromedp.Do(ctx, chromedp.Focus(chromedp.CSS(`[role="slider"]`))); err != nil {
		t.Fatal(err)
	}
	for _, press := range []struct{ key, date string }{
		{kb.ArrowLeft, "2025-12-30"},
		{kb.ArrowLeft, "2025-12-29"},
		{kb.ArrowRight, "2025-12-30"},
		{kb.PageDown, "2025-12-02"},
		{kb.Home, "2025-11-01"},
		{kb.ArrowLeft, "2025-11-01"},
		{kb.PageUp, "2025-11-29"},
		{kb.End, "2025-12-31"},
		{kb.ArrowRight, "2025-12-31"},
	} {
		if err := chromedp.Do(ctx, chromedp.KeyEvent(press.key)); err != nil {
			t.Fatal(err)
		}
		shows(press.date)
	}
	const middle = `(() => { const c = [...document.querySelectorAll(".cursor")][%d]; c.scrollIntoView({ block: "center" }); const b = c.getBoundingClientRect(); return [b.left + b.width * %g, b.top + b.height / 2]; })()`
	for chart, day := range []string{"2025-11-16", "2025-12-01", "2025-12-16"} {
		at := evaluate[[]float64](t, ctx, fmt.Sprintf(middle, chart, (15.5+15*float64(chart))/61))
		if err := chromedp.Do(ctx, chromedp.MouseEvent("mouseMoved", at[0], at[1])); err != nil {
			t.Fatal(err)
		}
		shows(day)
	}
	if err := chromedp.Do(ctx, chromedp.Focus(chromedp.CSS(`[role="slider"]`)), chromedp.KeyEvent(kb.End), chromedp.KeyEvent(kb.ArrowLeft), chromedp.KeyEvent(kb.Enter), chromedp.WaitVisible(chromedp.CSS("#day"))); err != nil {
		t.Fatal(err)
	}
	if title := evaluate[string](t, ctx, `document.querySelector("#day").textContent`); title != "Activities of 2025-12-30" {
		t.Errorf("Enter shows %q", title)
	}
	s.want(t, base)
	if page := r.get(path).Body.String(); strings.Count(page, "<title>2025-12-30: ") != 3 {
		t.Error("without scripts a day has no title in each of the charts")
	}
}

// TestPicturesInABrowser checks that the documentation's pictures are small, and with
// -pictures takes them anew.
func TestPicturesInABrowser(t *testing.T) {
	dir := cmp.Or(*pictures, "../../docs/pictures")
	if *pictures != "" {
		ctx := browser(t)
		base := sampled(t, dbtest.MigratedURL(t)).serve()
		for _, l := range []view{{name: "athlete-light", width: 1280}, {name: "athlete-dark", width: 390, dark: true}} {
			l.path = base + "/athlete?user=2&to=2025-12-31"
			l.take(t, ctx, dir)
		}
	}
	for _, name := range []string{"athlete-light.png", "athlete-dark.png"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() > 150_000 {
			t.Errorf("%s: %v, %v, want at most 150 kB", name, info, err)
		}
	}
}

// take writes a picture of a page, down to the end of its charts.
func (v view) take(t *testing.T, browser context.Context, dir string) {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser)
	defer cancel()
	v.emulate(t, ctx)
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(v.width, 900), chromedp.Navigate(v.path), chromedp.WaitReady(chromedp.CSS("footer"))); err != nil {
		t.Fatal(err)
	}
	height := evaluate[float64](t, ctx, `document.querySelector(".charts details").getBoundingClientRect().top`)
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(v.width, int64(height))); err != nil {
		t.Fatal(err)
	}
	taken, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := png.Decode(bytes.NewReader(taken))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestCompression}
	if err := encoder.Encode(&b, paletted(decoded)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, v.name+".png"), b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// paletted returns the picture with its 256 most frequent colours.
func paletted(of image.Image) *image.Paletted {
	bounds := of.Bounds()
	counts := map[color.RGBA]int{}
	at := func(x, y int) color.RGBA { return color.RGBAModel.Convert(of.At(x, y)).(color.RGBA) }
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			counts[at(x, y)]++
		}
	}
	colors := make([]color.RGBA, 0, len(counts))
	for c := range counts {
		colors = append(colors, c)
	}
	slices.SortFunc(colors, func(a, b color.RGBA) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a.R, b.R), cmp.Compare(a.G, b.G), cmp.Compare(a.B, b.B))
	})
	var palette color.Palette
	for _, c := range colors[:min(256, len(colors))] {
		palette = append(palette, c)
	}
	index := map[color.RGBA]uint8{}
	for c := range counts {
		index[c] = uint8(palette.Index(c))
	}
	p := image.NewPaletted(bounds, palette)
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			p.SetColorIndex(x, y, index[at(x, y)])
		}
	}
	return p
}

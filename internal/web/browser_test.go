//go:build browser

package web_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/trainingmonkey/worker/internal/web"
	"github.com/trainingmonkey/worker/test/dbtest"
)

func TestPagesInABrowser(t *testing.T) {
	ctx := browser(t)
	empty, full, paused := newRig(t, dbtest.MigratedURL(t)), newRig(t, dbtest.MigratedURL(t)), newRig(t, dbtest.MigratedURL(t))
	empty.run()
	empty.waitForReason("", noticed)
	empty.takeSnapshot()
	full.fill()
	full.options.Access.User, full.options.Access.Password = user, password
	paused.failures()
	bases := map[string]string{"empty": empty.serve(), "full": full.serve(), "paused": paused.serve()}
	for _, page := range []struct{ name, of, path string }{
		{"status-empty", "empty", "/"},
		{"status-full", "full", "/"},
		{"status-paused", "paused", "/"},
		{"athlete-empty", "empty", "/athlete?user=7"},
		{"athlete-full", "full", "/athlete?user=7"},
		{"confirm-full", "full", "/act?do=retry_jobs&state=discarded"},
		{"refused-full", "full", "/act?do=retry_jobs&id=999999999"},
		{"refused-paused", "paused", "/act?do=resume&queue=ingest"},
	} {
		for _, width := range []int64{390, 1280} {
			for _, dark := range []bool{false, true} {
				scheme := map[bool]string{false: "light", true: "dark"}[dark]
				l := view{name: fmt.Sprintf("%s-%s-%d", page.name, scheme, width), path: bases[page.of] + page.path, width: width, dark: dark, refused: strings.HasPrefix(page.name, "refused")}
				t.Run(l.name, func(t *testing.T) { l.check(t, ctx) })
			}
		}
	}
}

// TestRiverUIInABrowser: River's UI works under the policy that it is served with.
func TestRiverUIInABrowser(t *testing.T) {
	ctx := browser(t)
	r := newRig(t, dbtest.MigratedURL(t))
	r.fill()
	base := r.serve()
	s := listen(t, ctx)
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.Navigate(base+"/river/queues"), chromedp.WaitVisible(chromedp.CSS(`a[href*="recalc_bulk"]`))); err != nil {
		t.Fatalf("%v; the browser says %v", err, s.faults)
	}
	text := evaluate[string](t, ctx, "document.body.innerText")
	if !strings.Contains(text, "recalc_bulk") {
		t.Errorf("River UI shows no queues: %q", text)
	}
	s.want(t, base)
}

// TestPageLivesInABrowser: changes appear without a reload, and do not move the reader's
// place.
func TestPageLivesInABrowser(t *testing.T) {
	browser := browser(t)
	r := newRig(t, dbtest.MigratedURL(t))
	r.failures()
	r.options.Access.User, r.options.Access.Password = user, password
	base := r.serve()
	ctx, s := tab(t, browser)
	if err := chromedp.Do(ctx, chromedp.Navigate(base+"/")); err != nil {
		t.Fatal(err)
	}
	waitFor(t, ctx, `document.getElementById("live").textContent.startsWith("Live, as of ")`)
	const focus = `document.querySelector("a[href='/act?do=retry_jobs&id=3']").focus(), scrollTo(0, 300), true`
	evaluate[bool](t, ctx, focus)
	r.exec(`UPDATE river.river_job SET state = 'available', finalized_at = NULL WHERE id = 1`)
	r.takeSnapshot()
	waitFor(t, ctx, `!document.querySelector("a[href='/act?do=retry_jobs&id=1']")`)
	const stayed = `document.activeElement.getAttribute("href") === "/act?do=retry_jobs&id=3" && scrollY === 300`
	if !evaluate[bool](t, ctx, stayed) {
		t.Errorf("the focus is on %s, scrolled by %v", evaluate[string](t, ctx, "document.activeElement.outerHTML.slice(0, 100)"), evaluate[float64](t, ctx, "scrollY"))
	}
	r.exec(`DELETE FROM river.river_job WHERE state = 'retryable'`) // a whole section disappears
	r.takeSnapshot()
	waitFor(t, ctx, `!document.getElementById("retryable")`)
	r.exec(`UPDATE river.river_job SET state = 'retryable' WHERE id = 5`) // and reappears, in its place
	r.takeSnapshot()
	waitFor(t, ctx, `document.getElementById("retryable") !== null && [...document.querySelectorAll("#parts > *")].map(e => e.querySelector("h1, h2").id).join(" ").includes("backfills retryable discarded cancelled rejects")`)
	if !evaluate[bool](t, ctx, stayed) {
		t.Error("sections that appear and disappear move the focus or the page")
	}
	evaluate[bool](t, ctx, `window.kept = document.getElementById("rejects").parentElement, getSelection().selectAllChildren(window.kept), true`)
	r.exec(`DELETE FROM ingest_rejects`)
	r.takeSnapshot()
	time.Sleep(time.Second)
	if !evaluate[bool](t, ctx, `getSelection().toString().includes("total_load_miles") && window.kept.isConnected`) {
		t.Error("the selected text was replaced")
	}
	evaluate[bool](t, ctx, `getSelection().removeAllRanges(), true`)
	r.takeSnapshot()
	waitFor(t, ctx, `!document.getElementById("rejects").parentElement.textContent.includes("total_load_miles")`)
	s.want(t, base)
}

// TestPageWithoutItsWorkerInABrowser: the page says that it is out of date, and updates
// again when the worker is back.
func TestPageWithoutItsWorkerInABrowser(t *testing.T) {
	browser := browser(t)
	r := newRig(t, dbtest.MigratedURL(t))
	r.takeSnapshot()
	server, err := web.Listen(t.Context(), r.options)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve() }()
	ctx, _ := tab(t, browser)
	if err := chromedp.Do(ctx, chromedp.Navigate("http://"+server.Address()+"/")); err != nil {
		t.Fatal(err)
	}
	waitFor(t, ctx, `document.getElementById("live").textContent.startsWith("Live, as of ")`)
	server.Shutdown(t.Context())
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	waitFor(t, ctx, `document.getElementById("live").textContent.startsWith("Not live")`)
	r.options.Access.Listen = server.Address()
	r.serve()
	waitFor(t, ctx, `document.getElementById("live").textContent.startsWith("Live, as of ")`)
}

// TestButtonInABrowser: a button is pressed with and without scripts, on localhost and
// under another name, for which browsers send fewer headers.
func TestButtonInABrowser(t *testing.T) {
	browser := browser(t, chromedp.Flag("host-resolver-rules", "MAP worker.example 127.0.0.1"))
	r := newRig(t, dbtest.MigratedURL(t))
	r.failures()
	r.options.Access.User, r.options.Access.Password = user, password
	base := r.serve()
	elsewhere := strings.Replace(base, "127.0.0.1", "worker.example", 1)
	for i, c := range []struct {
		name, base string
		scripts    bool
	}{{"scripts", base, true}, {"no scripts", base, false}, {"another name", elsewhere, true}} {
		t.Run(c.name, func(t *testing.T) {
			ctx, s := tab(t, browser)
			if _, err := chromedp.Call(ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !c.scripts}); err != nil {
				t.Fatal(err)
			}
			button := fmt.Sprintf(`a[href="/act?do=retry_jobs&id=%d"]`, i+1)
			err := chromedp.Do(ctx, chromedp.Navigate(c.base+"/"), chromedp.Click(chromedp.CSS(button)),
				chromedp.WaitVisible(chromedp.CSS("#question")), chromedp.Click(chromedp.CSS("main form button")), chromedp.WaitVisible(chromedp.CSS(".done")))
			if err != nil {
				t.Fatalf("%v; the browser says %v", err, s.faults)
			}
			if text := evaluate[string](t, ctx, `document.querySelector(".done").textContent`); !strings.HasSuffix(text, ": 1 job was retried.") {
				t.Errorf("the page says %q", text)
			}
			if got := r.text(`SELECT state::text FROM river.river_job WHERE id = $1`, i+1); got != "available" {
				t.Errorf("job %d is %s", i+1, got)
			}
			// Without TLS a browser ignores Cross-Origin-Opener-Policy and logs that.
			s.faults = slices.DeleteFunc(s.faults, func(fault string) bool {
				return strings.Contains(fault, "Cross-Origin-Opener-Policy header has been ignored")
			})
			s.want(t, c.base)
		})
	}
}

// TestBackFromRiverUIInABrowser: our page links to River's page of a job, and that
// links back.
func TestBackFromRiverUIInABrowser(t *testing.T) {
	browser := browser(t)
	r := newRig(t, dbtest.MigratedURL(t))
	r.failures()
	base := r.serve()
	ctx, s := tab(t, browser)
	err := chromedp.Do(ctx, chromedp.Navigate(base+"/"), chromedp.Click(chromedp.CSS(`th a[href="/river/jobs/3"]`)), chromedp.WaitVisible(chromedp.CSS(`#root h1, #root h2`)))
	if err != nil {
		t.Fatalf("%v; the browser says %v", err, s.faults)
	}
	waitFor(t, ctx, `document.body.innerText.includes("activity_ingest")`)
	if *screenshots != "" {
		view{name: "river-job"}.picture(t, ctx)
	}
	if err := chromedp.Do(ctx, chromedp.Click(chromedp.CSS(`body > a[href="/"]`)), chromedp.WaitVisible(chromedp.CSS("#headline"))); err != nil {
		t.Fatalf("%v; the browser says %v", err, s.faults)
	}
	s.want(t, base)
}

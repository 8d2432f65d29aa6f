//go:build browser

package web_test

import (
	"context"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/trainingmonkey/worker/internal/web"
	"github.com/trainingmonkey/worker/test/dbtest"
)

var screenshots = flag.String("screenshots", "", "`directory` for a picture of every page")

// browser starts Chromium, once for all pages of a test.
func browser(t *testing.T, more ...chromedp.ExecAllocatorOption) context.Context {
	t.Helper()
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("hide-scrollbars", true))
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), append(options, more...)...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start Chromium: %v; install it, as with: apt-get install chromium", err)
	}
	return ctx
}

// view is one state of one page, in one width and scheme.
type view struct {
	name, path string
	width      int64
	dark       bool
	says       string // text that the page has
	refused    bool   // its status is no success, and the browser logs that
}

// seen collects what the browser complains of, and where it went.
type seen struct {
	mu       sync.Mutex
	faults   []string
	requests []string
}

func (s *seen) event(event any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		s.faults = append(s.faults, "exception: "+e.ExceptionDetails.Text)
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning {
			s.faults = append(s.faults, fmt.Sprintf("console: %v", e.Args))
		}
	case *cdplog.EventEntryAdded:
		s.faults = append(s.faults, fmt.Sprintf("log: %s %s", e.Entry.Text, e.Entry.URL))
	case *network.EventRequestWillBeSent:
		s.requests = append(s.requests, e.Request.URL)
	}
}

// textContrastScript returns every text whose contrast with what is behind it
// is below that of WCAG 2.2 AA, 4.5, or 3 for large text.
const textContrastScript = `(() => {
	const channels = c => c.match(/[\d.]+/g).map(Number);
	const luminance = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
		.reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
	const behind = e => { for (; e; e = e.parentElement) { const c = channels(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > 0) return c; } return [255, 255, 255]; };
	const low = [];
	let texts = 0;
	const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	for (let node; node = walk.nextNode();) {
		if (!node.data.trim() || node.parentElement.closest("title")) continue;
		const e = node.parentElement, style = getComputedStyle(e);
		const ink = channels(e instanceof SVGElement ? style.fill : style.color), ground = behind(e);
		const [a, b] = [luminance(ink), luminance(ground)].sort((x, y) => y - x), ratio = (a + 0.05) / (b + 0.05);
		const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
		texts++;
		if (ratio < (large ? 3 : 4.5)) low.push(node.data.trim().slice(0, 40) + " " + ratio.toFixed(2));
	}
	return texts > 10 ? low : ["only " + texts + " texts found"];
})()`

// overflowScript returns by how many pixels the page is wider than the window.
const overflowScript = `document.scrollingElement.scrollWidth - window.innerWidth`

// namelessScript returns what has no name for those who do not see it.
const namelessScript = `[...document.querySelectorAll("a, button, input:not([type=hidden]), [role]")].filter(e => !(e.textContent.trim() || e.getAttribute("aria-label") ||
	e.labels?.length || document.getElementById(e.getAttribute("aria-labelledby")))).map(e => e.outerHTML.slice(0, 80))`

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

func (v view) check(t *testing.T, browser context.Context) {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser)
	defer cancel()
	ctx, cancelTime := context.WithTimeout(ctx, 30*time.Second)
	defer cancelTime()
	s := listen(t, ctx)
	v.emulate(t, ctx)
	signIn(t, ctx)
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(v.width, 800), chromedp.Navigate(v.path), chromedp.WaitReady(chromedp.CSS("footer"))); err != nil {
		t.Fatal(err)
	}
	if *screenshots != "" {
		v.picture(t, ctx)
	}
	low, nameless := evaluate[[]string](t, ctx, textContrastScript), evaluate[[]string](t, ctx, namelessScript)
	overflow := evaluate[float64](t, ctx, overflowScript)
	for _, text := range low {
		t.Errorf("too little contrast: %s", text)
	}
	for _, element := range nameless {
		t.Errorf("nameless: %s", element)
	}
	if overflow > 0 {
		t.Errorf("the page is %g pixels wider than the window", overflow)
	}
	if text := evaluate[string](t, ctx, "document.documentElement.textContent"); !strings.Contains(text, v.says) {
		t.Errorf("the page does not say %q", v.says)
	}
	checkKeyboard(t, ctx)
	if v.refused {
		s.forget(v.path)
	}
	s.want(t, v.path)
}

// signIn sends the operator's credentials with whatever the tab asks for.
func signIn(t *testing.T, ctx context.Context) {
	t.Helper()
	headers := network.SetExtraHTTPHeadersParams{Headers: network.Headers{"Authorization": "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))}}
	if _, err := chromedp.Call(ctx, network.SetExtraHTTPHeaders, headers); err != nil {
		t.Fatal(err)
	}
}

// emulate sets the colour scheme.
func (v view) emulate(t *testing.T, ctx context.Context) {
	t.Helper()
	scheme := "light"
	if v.dark {
		scheme = "dark"
	}
	media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}
	if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, media); err != nil {
		t.Fatal(err)
	}
}

// listen enables the events that report faults and requests, and collects them.
func listen(t *testing.T, ctx context.Context) *seen {
	t.Helper()
	s := &seen{}
	if err := chromedp.Listen(ctx, s.event); err != nil {
		t.Fatal(err)
	}
	_, networkErr := chromedp.Call(ctx, network.Enable, network.EnableParams{})
	_, logErr := chromedp.Call(ctx, cdplog.Enable, cdp.Empty{})
	_, runtimeErr := chromedp.Call(ctx, runtime.Enable, cdp.Empty{})
	if err := errors.Join(networkErr, logErr, runtimeErr); err != nil {
		t.Fatal(err)
	}
	return s
}

func evaluate[T any](t *testing.T, ctx context.Context, script string) T {
	t.Helper()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](script))
	if err != nil {
		t.Fatalf("%s: %v", script, err)
	}
	return value
}

// picture stores the whole page, however long it is.
func (v view) picture(t *testing.T, ctx context.Context) {
	t.Helper()
	picture, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.WriteFile(filepath.Join(*screenshots, v.name+".png"), picture, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// forget drops what the browser logs of a page whose status is no success.
func (s *seen) forget(address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = slices.DeleteFunc(s.faults, func(fault string) bool {
		return strings.HasPrefix(fault, "log: Failed to load resource: the server responded with a status of ") && strings.HasSuffix(fault, address)
	})
}

// want fails the test when the browser complained or went elsewhere.
func (s *seen) want(t *testing.T, address string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, fault := range s.faults {
		t.Error(fault)
	}
	for _, request := range s.requests {
		u, err := url.Parse(request)
		if err != nil || (u.Scheme != "data" && u.Host != hostName(t, address)) {
			t.Errorf("the page asked elsewhere: %s", request)
		}
	}
	if len(s.requests) < 2 {
		t.Errorf("only %v were requested, want the page and its stylesheet", s.requests)
	}
}

const focusScript = `(() => { const e = document.activeElement, style = getComputedStyle(e);
	return e === document.body ? "" : (style.outlineStyle === "none" ? "invisible " : "") + e.outerHTML.slice(0, 60); })()`

const usableScript = `document.activeElement.blur(), [...document.querySelectorAll("a, button, input:not([type=hidden]), summary, [tabindex='0']")].filter(e => e.checkVisibility()).map(e => e.outerHTML.slice(0, 60))`

// checkKeyboard goes through the page with the tab key: everything that can be
// used is reached, in its order, and shows that it has the focus.
func checkKeyboard(t *testing.T, ctx context.Context) {
	t.Helper()
	want := evaluate[[]string](t, ctx, usableScript)
	for i := range want {
		if err := chromedp.Do(ctx, chromedp.KeyEvent(kb.Tab)); err != nil {
			t.Fatal(err)
		}
		if focus := evaluate[string](t, ctx, focusScript); focus != want[i] {
			t.Fatalf("tab %d reaches %q, want %q", i+1, focus, want[i])
		}
	}
	if len(want) < 5 {
		t.Errorf("only %d elements can be used", len(want))
	}
}

// TestRiverUIInABrowser has the policy that it is served with let it work.
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

// waitFor waits until a script returns true.
func waitFor(t *testing.T, ctx context.Context, script string) {
	t.Helper()
	for began := time.Now(); !evaluate[bool](t, ctx, script); time.Sleep(50 * time.Millisecond) {
		if time.Since(began) > 10*time.Second {
			t.Fatalf("never true: %s\n%s", script, evaluate[string](t, ctx, "document.body.innerText"))
		}
	}
}

// tab opens a tab of width 1280 that is signed in.
func tab(t *testing.T, browser context.Context) (context.Context, *seen) {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	ctx, cancelTime := context.WithTimeout(ctx, 60*time.Second)
	t.Cleanup(cancelTime)
	s := listen(t, ctx)
	signIn(t, ctx)
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(1280, 800)); err != nil {
		t.Fatal(err)
	}
	return ctx, s
}

// TestPageLivesInABrowser: what changes shows by itself, and leaves alone where the
// reader is.
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
	r.exec(`DELETE FROM river.river_job WHERE state = 'retryable'`) // a whole section goes
	r.takeSnapshot()
	waitFor(t, ctx, `!document.getElementById("retryable")`)
	r.exec(`UPDATE river.river_job SET state = 'retryable' WHERE id = 5`) // and comes, at its place
	r.takeSnapshot()
	waitFor(t, ctx, `document.getElementById("retryable") !== null && [...document.querySelectorAll("#parts > *")].map(e => e.querySelector("h1, h2").id).join(" ").includes("backfills retryable discarded cancelled rejects")`)
	if !evaluate[bool](t, ctx, stayed) {
		t.Error("sections that come and go move the focus or the page")
	}
	evaluate[bool](t, ctx, `window.kept = document.getElementById("rejects").parentElement, getSelection().selectAllChildren(window.kept), true`)
	r.exec(`DELETE FROM ingest_rejects`)
	r.takeSnapshot()
	time.Sleep(time.Second)
	if !evaluate[bool](t, ctx, `getSelection().toString().includes("total_load_miles") && window.kept.isConnected`) {
		t.Error("what is selected is replaced")
	}
	evaluate[bool](t, ctx, `getSelection().removeAllRanges(), true`)
	r.takeSnapshot()
	waitFor(t, ctx, `!document.getElementById("rejects").parentElement.textContent.includes("total_load_miles")`)
	s.want(t, base)
}

// TestPageWithoutItsWorkerInABrowser says that it is old, and lives again when the worker
// is back.
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

// TestButtonInABrowser is pressed with and without scripts, on this machine and by
// another name, of which a browser says less.
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
			// Without TLS a browser passes over what it says of other windows.
			s.faults = slices.DeleteFunc(s.faults, func(fault string) bool {
				return strings.Contains(fault, "Cross-Origin-Opener-Policy header has been ignored")
			})
			s.want(t, c.base)
		})
	}
}

// TestBackFromRiverUIInABrowser: River's page of a job is a link away, and ours from
// there.
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

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
	says       string // text on the page
	refused    bool   // its status is an error, which the browser logs
}

// seen collects the errors that the browser reports and the addresses that it requests.
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

// textContrastScript returns every text whose contrast with its background is below
// WCAG 2.2 AA: 4.5, or 3 for large text.
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

// overflowScript returns how many pixels the page is wider than the window.
const overflowScript = `document.scrollingElement.scrollWidth - window.innerWidth`

// namelessScript returns the elements without a name for screen readers.
const namelessScript = `[...document.querySelectorAll("a, button, input:not([type=hidden]), [role]")].filter(e => !(e.textContent.trim() || e.getAttribute("aria-label") ||
	e.labels?.length || document.getElementById(e.getAttribute("aria-labelledby")))).map(e => e.outerHTML.slice(0, 80))`

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

// signIn sends the operator's credentials with every request of the tab.
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

// listen enables the events for faults and requests, and collects them.
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

// picture stores the whole page, whatever its height.
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

// forget drops what the browser logged about a page with an error status.
func (s *seen) forget(address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = slices.DeleteFunc(s.faults, func(fault string) bool {
		return strings.HasPrefix(fault, "log: Failed to load resource: the server responded with a status of ") && strings.HasSuffix(fault, address)
	})
}

// want fails the test if the browser complained or requested another server.
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
			t.Errorf("the page requested %s", request)
		}
	}
	if len(s.requests) < 2 {
		t.Errorf("only %v were requested, want the page and its stylesheet", s.requests)
	}
}

const focusScript = `(() => { const e = document.activeElement, style = getComputedStyle(e);
	return e === document.body ? "" : (style.outlineStyle === "none" ? "invisible " : "") + e.outerHTML.slice(0, 60); })()`

const usableScript = `document.activeElement.blur(), [...document.querySelectorAll("a, button, input:not([type=hidden]), summary, [tabindex='0']")].filter(e => e.checkVisibility()).map(e => e.outerHTML.slice(0, 60))`

// checkKeyboard goes through the page with the tab key: every usable element is
// reached, in order, and shows its focus.
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

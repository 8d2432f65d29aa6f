package web

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// actPage is the data of act.html: a question, or why the change is refused.
type actPage struct {
	page
	Question, Of string
	Change       change
	Kind         changeKind
	Command      string
	Fault        string
}

// actTime bounds a change. It is shorter than throttleTime. A change is finished or
// undone even if the browser disconnects.
const actTime = 8 * time.Second

// buttons reports whether pages have buttons. They need credentials, because each change
// is logged with its user.
func (p *pages) buttons() bool { return p.options.Access.User != "" }

const noButtons = "Pages change nothing without credentials, so that it is known who did it. " +
	"Set TMWORKER_OPERATIONS_USER and TMWORKER_OPERATIONS_PASSWORD and start the worker again, or use the command."

// ask shows what a button will do, and a form to confirm it.
func (p *pages) ask(w http.ResponseWriter, r *http.Request) {
	c, err := parseChange(r.URL.Query())
	data := actPage{page: p.page("Confirm", r), Change: c, Kind: changeKinds[c.Name]}
	data.Refresh = 0
	// Otherwise browsers send the form with the origin null, and it is refused as
	// cross-site.
	w.Header().Set("Referrer-Policy", "same-origin")
	if err != nil {
		p.refuse(w, r, http.StatusBadRequest, data, err.Error())
		return
	}
	data.Command = c.command()
	if !p.buttons() {
		p.refuse(w, r, http.StatusForbidden, data, noButtons)
		return
	}
	err = p.selectIDs(r.Context(), &c)
	if err == nil {
		data.Change, data.Command = c, c.command()
		data.Question, data.Of, err = data.Kind.preview(p)(r.Context(), c)
	}
	if err != nil {
		p.refuseChange(w, r, data, 0, err)
		return
	}
	p.render(w, r, http.StatusOK, "act.html", data)
}

// act makes the change and redirects to the status page, which shows the outcome.
func (p *pages) act(w http.ResponseWriter, r *http.Request) {
	data := actPage{page: p.page("Confirm", r)}
	if err := r.ParseForm(); err != nil {
		p.refuse(w, r, http.StatusBadRequest, data, "The form cannot be read.")
		return
	}
	c, err := parseChange(r.PostForm)
	data.Change, data.Kind = c, changeKinds[c.Name]
	switch {
	case err != nil:
		p.refuse(w, r, http.StatusBadRequest, data, err.Error())
		return
	case c.Name != "resume" && len(c.IDs) == 0:
		p.refuse(w, r, http.StatusBadRequest, data, "id: which?")
		return
	}
	data.Command = c.command()
	if !p.buttons() {
		p.refuse(w, r, http.StatusForbidden, data, noButtons)
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), actTime)
	defer cancel()
	says, rows, err := data.Kind.perform(p)(ctx, c)
	p.audit(r, c, rows, err)
	p.options.Watch.Hurry()
	if err != nil {
		p.refuseChange(w, r, data, rows, err)
		return
	}
	http.Redirect(w, r, "/?"+p.done.sign(says, time.Now()).Encode(), http.StatusSeeOther)
}

// audit logs who made which change, in one line.
func (p *pages) audit(r *http.Request, c change, rows int64, err error) {
	user, _, _ := r.BasicAuth()
	attributes := []slog.Attr{slog.String("change", c.Name), slog.String("user", user), slog.String("from", r.RemoteAddr)}
	if c.Queue != "" {
		attributes = append(attributes, slog.String("queue", c.Queue))
	} else {
		attributes = append(attributes, slog.Any("ids", c.IDs))
	}
	attributes = append(attributes, slog.Int64("changed", rows))
	if err != nil {
		p.options.Logger.LogAttrs(r.Context(), slog.LevelWarn, "operator's change refused", append(attributes, slog.String("error", err.Error()))...)
		return
	}
	p.options.Logger.LogAttrs(r.Context(), slog.LevelInfo, "changed by an operator", attributes...)
}

func (p *pages) refuse(w http.ResponseWriter, r *http.Request, status int, data actPage, fault string) {
	data.Fault = fault
	p.render(w, r, status, "act.html", data)
}

// refuseChange shows why a change was not made, or not completely.
func (p *pages) refuseChange(w http.ResponseWriter, r *http.Request, data actPage, rows int64, err error) {
	status := http.StatusConflict
	if errors.Is(err, context.DeadlineExceeded) {
		status, err = http.StatusServiceUnavailable, errors.New("the database did not answer in time")
	}
	fault := "Not done: " + err.Error() + "."
	if rows > 0 {
		fault = fmt.Sprintf("Done to %s, and then: %v.", grouped(rows), err)
	}
	p.refuse(w, r, status, data, fault)
}

// doneKey signs the outcome shown by the status page, so that no link can forge one. It
// is valid only within this process.
type doneKey []byte

func (k doneKey) mac(says, at string) []byte {
	mac := hmac.New(sha256.New, k)
	mac.Write([]byte(at + "\n" + says))
	return mac.Sum(nil)
}

// sign returns the parameters of the page that shows the outcome.
func (k doneKey) sign(says string, at time.Time) url.Values {
	unix := strconv.FormatInt(at.Unix(), 10)
	return url.Values{"done": {says}, "at": {unix}, "by": {hex.EncodeToString(k.mac(says, unix))}}
}

// says returns what was done and when; empty if nothing was, or if the signature is
// invalid.
func (k doneKey) says(values url.Values) string {
	unix := values.Get("at")
	given, err := hex.DecodeString(values.Get("by"))
	seconds, secondsErr := strconv.ParseInt(unix, 10, 64)
	if err != nil || secondsErr != nil || !hmac.Equal(given, k.mac(values.Get("done"), unix)) {
		return ""
	}
	return time.Unix(seconds, 0).UTC().Format("15:04:05 UTC") + ": " + values.Get("done")
}

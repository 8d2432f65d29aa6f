package refresh

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"time"
)

// Kind is what an answer means for the refresh token that was used.
type Kind int

const (
	// Given says that the answer has new tokens.
	Given Kind = iota
	// Failed says that it has none, and that the refresh token is still valid.
	Failed
	// Lost says that new tokens may not have arrived; the refresh token may be used up.
	Lost
	// Refused says that the refresh token is not valid, or no longer.
	Refused
	// Throttled says that no process may send a request before RetryAfter has passed.
	Throttled
)

// Answer is the provider's answer. It prints without its secrets.
type Answer struct {
	Kind       Kind
	Access     string
	Refresh    string // empty: the one that was used stays valid
	ExpiresAt  time.Time
	Reason     string        // why there are no tokens, in our own words
	Status     int           // HTTP status, 0 without an answer
	RetryAfter time.Duration // 0 if the provider did not state it
}

// Format implements fmt.Formatter.
func (a Answer) Format(s fmt.State, _ rune) {
	_, _ = fmt.Fprintf(s, "answer %d: %s", a.Status, a.Reason)
}

// given is an answer with tokens: RFC 6749, 5.1, and Strava's expires_at. Times may be of
// any type, so that an unexpected one does not lose the tokens.
type given struct {
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	ExpiresAt    any    `json:"expires_at"` // seconds since 1970
	ExpiresIn    any    `json:"expires_in"` // seconds
}

// refused is an answer without tokens: RFC 6749, 5.2, and Strava's own list of errors.
type refused struct {
	Error  any `json:"error"`
	Errors []struct {
		Resource string `json:"resource"`
		Code     string `json:"code"`
	} `json:"errors"`
}

// The default and the max pause.
const (
	defaultPause = time.Minute
	maxPause     = 24 * time.Hour
)

func judge(response *http.Response, content []byte, readErr error, now time.Time) Answer {
	a := Answer{Status: response.StatusCode, RetryAfter: retryAfter(response.Header.Get("Retry-After"), now)}
	whole := readErr == nil && len(content) <= maxAnswerBytes
	var tokens given
	var refusal refused
	switch status := response.StatusCode; {
	case status >= 200 && status < 300 && whole && json.Unmarshal(content, &tokens) == nil && tokens.AccessToken != "":
		a.Kind, a.Access, a.Refresh, a.ExpiresAt = Given, tokens.AccessToken, tokens.RefreshToken, tokens.expiry(now)
	case status >= 200 && status < 300:
		a.Kind, a.Reason = Lost, "the provider's answer has no tokens that can be read"
	case status == http.StatusTooManyRequests:
		a.Kind, a.Reason = Throttled, "the provider's limit is reached"
		if a.RetryAfter == 0 {
			a.RetryAfter = defaultPause
		}
	case status >= 500:
		a.Kind, a.Reason = Lost, fmt.Sprintf("the provider failed with status %d", status)
	case (status == http.StatusBadRequest || status == http.StatusUnauthorized) && whole && json.Unmarshal(content, &refusal) == nil && refusal.ofToken():
		a.Kind, a.Reason = Refused, "the provider refuses the refresh token"
	default:
		a.Kind, a.Reason = Failed, fmt.Sprintf("the provider refuses the request with status %d%s", status, refusal.code())
	}
	return a
}

// unknownExpiry is the assumed lifetime of tokens without a stated one. It is
// short, so that they are soon refreshed again.
const unknownExpiry = time.Hour

// maxLife bounds the stated lifetime, so that an absurd one does not keep a token fresh
// for ever.
const maxLife = 366 * 24 * time.Hour

func (g *given) expiry(now time.Time) time.Time {
	if at, ok := g.ExpiresAt.(float64); ok && at > 0 && at < float64(now.Add(maxLife).Unix()) {
		return time.Unix(int64(at), 0)
	}
	if in, ok := g.ExpiresIn.(float64); ok && in > 0 && in < maxLife.Seconds() {
		return now.Add(time.Duration(in * float64(time.Second)))
	}
	return now.Add(unknownExpiry)
}

// ofToken reports whether the refresh token is what was refused.
func (r *refused) ofToken() bool {
	if r.Error == "invalid_grant" {
		return true
	}
	for _, e := range r.Errors {
		if e.Resource == "RefreshToken" && e.Code == "invalid" {
			return true
		}
	}
	return false
}

// errorCode matches only the codes of RFC 6749, and so nothing that could be a token.
var errorCode = regexp.MustCompile(`^(invalid_request|invalid_client|invalid_grant|unauthorized_client|unsupported_grant_type|invalid_scope)$`)

// code returns the error code, if it is a known one.
func (r *refused) code() string {
	if code, is := r.Error.(string); is && errorCode.MatchString(code) {
		return " (" + code + ")"
	}
	return ""
}

// retryAfter reads seconds or a date.
func retryAfter(header string, now time.Time) time.Duration {
	var d time.Duration
	if seconds, err := strconv.Atoi(header); err == nil {
		d = time.Duration(min(seconds, int(maxPause.Seconds()))) * time.Second
	} else if at, err := http.ParseTime(header); err == nil {
		d = at.Sub(now)
	}
	return min(max(d, 0), maxPause)
}

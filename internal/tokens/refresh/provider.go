// Package refresh requests new tokens from the provider and stores them.
//
// Rules. No database connection is held during a request to the provider. New tokens are
// stored at once, with retries. One user's failure does not affect others. Errors contain
// no token and no text of an answer.
package refresh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Provider is an OAuth 2 token endpoint.
type Provider struct {
	tokenURL     string
	clientID     string
	clientSecret string
	userAgent    string
	timeout      time.Duration // one request, to the last byte of its answer
	now          func() time.Time
	client       http.Client
}

// NewProvider returns a provider with persistent connections. Lifetimes in its answers
// begin now.
func NewProvider(tokenURL, clientID, clientSecret, userAgent string, timeout time.Duration, connections int, now func() time.Time) *Provider {
	return &Provider{
		tokenURL: tokenURL, clientID: clientID, clientSecret: clientSecret, userAgent: userAgent, timeout: timeout, now: now,
		client: http.Client{
			Transport: &http.Transport{
				Proxy:                 http.ProxyFromEnvironment,
				DialContext:           (&net.Dialer{Timeout: timeout}).DialContext,
				TLSHandshakeTimeout:   timeout,
				MaxIdleConnsPerHost:   connections,
				IdleConnTimeout:       time.Minute,
				ForceAttemptHTTP2:     true,
				ExpectContinueTimeout: time.Second,
			},
			// A redirect could send the secrets elsewhere.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// maxAnswerBytes is larger than any answer with tokens.
const maxAnswerBytes = 1 << 16

// Refresh requests new tokens. It stops at the timeout and not when ctx ends, because
// the tokens of an abandoned answer would be lost. The request is never sent twice,
// because a refresh token is valid once.
func (p *Provider) Refresh(ctx context.Context, refreshToken string) Answer {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.timeout)
	defer cancel()
	form := url.Values{
		"grant_type": {"refresh_token"}, "refresh_token": {refreshToken},
		"client_id": {p.clientID}, "client_secret": {p.clientSecret},
	}.Encode()
	// The body can only be read once, so that net/http does not send the
	// request again on a new connection.
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.tokenURL, io.NopCloser(strings.NewReader(form)))
	if err != nil {
		return Answer{Kind: Failed, Reason: "the token URL cannot be asked"}
	}
	request.ContentLength = int64(len(form))
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", p.userAgent)
	response, err := p.client.Do(request)
	if err != nil {
		return unanswered(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswerBytes+1))
	return judge(response, body, err, p.now())
}

// unanswered distinguishes requests that never reached the provider from those
// that may have.
func unanswered(err error) Answer {
	if network := (*net.OpError)(nil); errors.As(err, &network) && network.Op == "dial" {
		return Answer{Kind: Failed, Reason: "the provider cannot be reached"}
	}
	reason := "the connection to the provider broke"
	if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
		reason = "the provider did not answer in time"
	}
	return Answer{Kind: Lost, Reason: reason}
}

// Format prints a provider without the client's secret.
func (p *Provider) Format(s fmt.State, _ rune) { _, _ = fmt.Fprint(s, "provider at ", p.tokenURL) }

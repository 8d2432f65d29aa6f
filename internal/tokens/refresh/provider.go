// Package refresh asks the provider for new tokens and stores what it
// answers.
//
// Rules. No database connection is held while the provider is asked. What it
// gave is stored at once and tried again until it is. One user's trouble is no
// other's. No token, and nothing of an answer's text, is in an error.
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
	TokenURL     string
	ClientID     string
	ClientSecret string
	UserAgent    string
	Timeout      time.Duration // one request, to the last byte of its answer
	client       http.Client
}

// NewProvider returns a provider that is asked over connections that are kept.
func NewProvider(tokenURL, clientID, clientSecret, userAgent string, timeout time.Duration, connections int) *Provider {
	return &Provider{
		TokenURL: tokenURL, ClientID: clientID, ClientSecret: clientSecret, UserAgent: userAgent, Timeout: timeout,
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
			// A redirect would take the secrets to somebody else.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// maxAnswerBytes is more than any answer with tokens has.
const maxAnswerBytes = 1 << 16

// Refresh asks for new tokens. It does not end before Timeout because ctx does:
// whoever stops listening to an answer loses the tokens in it. A refresh token
// is good once, so the request is never sent twice.
func (p *Provider) Refresh(ctx context.Context, refreshToken string) Answer {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.Timeout)
	defer cancel()
	form := url.Values{
		"grant_type": {"refresh_token"}, "refresh_token": {refreshToken},
		"client_id": {p.ClientID}, "client_secret": {p.ClientSecret},
	}.Encode()
	// The body is read once: net/http sends a request again on a new connection
	// only if it can read the body again.
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.TokenURL, io.NopCloser(strings.NewReader(form)))
	if err != nil {
		return Answer{Kind: Failed, Reason: "the token URL cannot be asked"}
	}
	request.ContentLength = int64(len(form))
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", p.UserAgent)
	response, err := p.client.Do(request)
	if err != nil {
		return unanswered(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswerBytes+1))
	return judge(response, body, err, time.Now())
}

// unanswered tells apart what never reached the provider and what may have.
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

// CloseIdle ends the connections that are kept.
func (p *Provider) CloseIdle() { p.client.CloseIdleConnections() }

// Format keeps the client's secret out of what prints a provider.
func (p *Provider) Format(s fmt.State, _ rune) { _, _ = fmt.Fprint(s, "provider at ", p.TokenURL) }

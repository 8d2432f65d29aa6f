// Package providertest is an OAuth 2 provider for tests. It rotates its refresh tokens and
// accepts each of them once, and can fail in every way that a provider behind a network
// can.
package providertest

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	rng "math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// Credentials of the client.
const (
	ClientID     = "4711"
	ClientSecret = "client-secret-that-must-not-show"
)

// Fault is a way to fail. Its text says whether the tokens were rotated first.
type Fault string

// The ways to fail.
const (
	None               Fault = ""
	Down               Fault = "500 before rotating"
	DownAfterRotating  Fault = "500 after rotating"
	Garbage            Fault = "garbage after rotating"
	Half               Fault = "half an answer after rotating"
	Silent             Fault = "no answer at all"
	SilentAfter        Fault = "no answer after rotating"
	Unauthorized       Fault = "401 for the client"
	Throttle           Fault = "429"
	Slow               Fault = "slow"
	KeepsRefreshToken  Fault = "no new refresh token"
	StravasRefusal     Fault = "400 as Strava says it"
	ClosesWithoutReply Fault = "closes the connection"
)

// LosesTokens reports whether the client cannot receive the rotated tokens.
func (f Fault) LosesTokens() bool {
	switch f {
	case DownAfterRotating, Garbage, Half, SilentAfter:
		return true
	}
	return false
}

// Provider is a running provider.
type Provider struct {
	URL string

	mu         sync.Mutex
	next       func(user int32) Fault
	current    map[int32]string // the valid refresh token of each user
	owner      map[string]int32 // the user of every refresh token ever issued
	asking     map[int32]int    // requests in flight
	lost       map[int32]bool   // users whose rotated token was never delivered
	secrets    []string
	requests   int
	collisions int
	reused     int
}

// silence is how long the provider stays silent.
const silence = 3 * time.Second

// New starts a provider that is stopped with the test. faults returns how the next
// request for a user fails; nil means that none fails.
func New(t testing.TB, faults func(user int32) Fault) *Provider {
	t.Helper()
	p := &Provider{current: map[int32]string{}, owner: map[string]int32{}, asking: map[int32]int{}, lost: map[int32]bool{}}
	p.SetFaults(faults)
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	p.URL = server.URL + "/oauth/token"
	return p
}

// SetFaults changes how requests fail from then on.
func (p *Provider) SetFaults(faults func(user int32) Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if faults == nil {
		faults = func(int32) Fault { return None }
	}
	p.next = faults
}

// Sometimes returns one of the faults with the given chance, in percent.
func Sometimes(percent int, faults ...Fault) func(int32) Fault {
	return func(int32) Fault {
		if rng.IntN(100) >= percent {
			return None
		}
		return faults[rng.IntN(len(faults))]
	}
}

// Authorize issues new tokens to a user.
func (p *Provider) Authorize(user int32) (access, refresh string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rotate(user)
}

func (p *Provider) rotate(user int32) (access, refresh string) {
	access, refresh = "access-"+rand.Text(), "refresh-"+rand.Text()
	p.current[user], p.owner[refresh] = refresh, user
	p.secrets = append(p.secrets, access, refresh)
	return access, refresh
}

// Revoke revokes a user's authorization.
func (p *Provider) Revoke(user int32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.current, user)
}

// Counts are what a provider counted.
type Counts struct {
	Requests   int
	Collisions int // requests for a user while another was in flight
	Reused     int // refresh tokens sent again after they were used
}

// Counts returns the counts so far.
func (p *Provider) Counts() Counts {
	p.mu.Lock()
	defer p.mu.Unlock()
	return Counts{p.requests, p.collisions, p.reused}
}

// Current returns the user's valid refresh token, and whether the provider failed to
// deliver it.
func (p *Provider) Current(user int32) (refresh string, lost bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.current[user], p.lost[user]
}

// Secrets returns every token ever issued, and the client's secret.
func (p *Provider) Secrets() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string{ClientSecret}, p.secrets...)
}

// ServeHTTP implements http.Handler.
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || r.PostFormValue("grant_type") != "refresh_token" {
		reply(w, http.StatusBadRequest, map[string]any{"error": "invalid_request"})
		return
	}
	if r.PostFormValue("client_id") != ClientID || r.PostFormValue("client_secret") != ClientSecret {
		reply(w, http.StatusUnauthorized, map[string]any{"error": "invalid_client"})
		return
	}
	used := r.PostFormValue("refresh_token")
	p.mu.Lock()
	p.requests++
	user, known := p.owner[used]
	fault := p.next(user)
	if p.asking[user]++; known && p.asking[user] > 1 {
		p.collisions++
	}
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		p.asking[user]--
		p.mu.Unlock()
	}()
	p.answer(w, r, user, used, fault)
}

func (p *Provider) answer(w http.ResponseWriter, r *http.Request, user int32, used string, fault Fault) {
	switch fault {
	case Down:
		http.Error(w, "down for "+used, http.StatusInternalServerError)
		return
	case Unauthorized:
		reply(w, http.StatusUnauthorized, map[string]any{"error": "invalid_client", "error_description": "not " + used})
		return
	case Throttle:
		w.Header().Set("Retry-After", "1")
		http.Error(w, "too many", http.StatusTooManyRequests)
		return
	case Silent:
		wait(r)
		return
	case ClosesWithoutReply:
		panic(http.ErrAbortHandler)
	case Slow:
		time.Sleep(50 * time.Millisecond)
	}
	p.mu.Lock()
	if current, ok := p.current[user]; !ok || current != used {
		p.reused++
		p.mu.Unlock()
		if fault == StravasRefusal {
			reply(w, http.StatusBadRequest, map[string]any{"message": "Bad Request", "errors": []any{map[string]any{"resource": "RefreshToken", "field": "refresh_token", "code": "invalid"}}})
			return
		}
		reply(w, http.StatusBadRequest, map[string]any{"error": "invalid_grant", "error_description": "no such token: " + used})
		return
	}
	access, refresh := p.rotate(user)
	if fault == KeepsRefreshToken {
		p.current[user], refresh = used, ""
	}
	p.lost[user] = fault.LosesTokens()
	p.mu.Unlock()

	content := map[string]any{"token_type": "Bearer", "access_token": access, "expires_in": 21600}
	if user%2 == 0 { // optional, says the standard
		content["expires_at"] = time.Now().Add(6 * time.Hour).Unix()
	}
	if refresh != "" {
		content["refresh_token"] = refresh
	}
	whole, err := json.Marshal(content)
	if err != nil {
		panic(err)
	}
	switch fault {
	case DownAfterRotating:
		http.Error(w, string(whole), http.StatusBadGateway)
	case Garbage:
		_, _ = fmt.Fprintf(w, "<html>%s", whole)
	case Half:
		w.Header().Set("Content-Length", fmt.Sprint(len(whole)))
		_, _ = w.Write(whole[:len(whole)/2])
	case SilentAfter:
		wait(r)
	default:
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(whole)
	}
}

// wait stays silent until the client gives up, and for at most silence.
func wait(r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-time.After(silence):
	}
}

func reply(w http.ResponseWriter, status int, content any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(content)
}

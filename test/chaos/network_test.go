//go:build chaos

package chaos

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// proxied puts a proxy between the workers and the server.
func (r *rig) proxied() *toxiproxy.Proxy {
	r.Helper()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop())
	proxy := toxiproxy.NewProxy(server, "postgres", "127.0.0.1:0", r.address())
	if err := proxy.Start(); err != nil {
		r.Fatal(err)
	}
	r.Cleanup(proxy.Stop)
	r.throughAddress(proxy.Listen)
	return proxy
}

// add adds a toxic in both directions.
func (r *rig) add(proxy *toxiproxy.Proxy, kind, attributes string) (remove func()) {
	r.Helper()
	for _, stream := range []string{"upstream", "downstream"} {
		toxic := fmt.Sprintf(`{"name": %q, "type": %q, "stream": %q, "attributes": %s}`, kind+stream, kind, stream, attributes)
		if _, err := proxy.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
			r.Fatal(err)
		}
	}
	return func() { proxy.Toxics.ResetToxics(context.WithoutCancel(r.Context())) }
}

func TestNetworkDelay(t *testing.T) {
	t.Parallel()
	r := shared(t)
	proxy := r.proxied()
	r.begin(2)
	r.fault(func() {
		remove := r.add(proxy, "latency", `{"latency": 20, "jitter": 10}`)
		time.Sleep(*long)
		r.stopCleanly(r.workers[0])
		remove()
	})
	r.end()
}

func TestNetworkCuts(t *testing.T) {
	t.Parallel()
	r := shared(t)
	proxy := r.proxied()
	r.begin(2)
	r.fault(func() {
		repeatedly(200*time.Millisecond, func() {
			remove := r.add(proxy, "reset_peer", `{"timeout": 50}`)
			time.Sleep(100 * time.Millisecond)
			remove()
		})
	})
	r.end()
	r.recoveredWithin(15 * time.Second)
}

// TestCutOffWorker cuts off one worker's network while it has claimed jobs.
func TestCutOffWorker(t *testing.T) {
	r := shared(t)
	proxy := r.proxied()
	r.startWorker()
	r.through = r.url
	r.startWorker()
	r.begin(0)
	cutOff := r.workers[0]
	var held []int64
	var at time.Time
	r.fault(func() {
		var mend func()
		held, at = r.takenAway(cutOff, func() (undo func()) {
			mend = r.add(proxy, "timeout", `{"timeout": 0}`)
			return mend
		})
		time.Sleep(idleTimeout + releasedWithin)
		mend()
	})
	r.end()
	r.claimedElsewhere(cutOff, held, at, idleTimeout+releasedWithin)
	r.recoveredWithin(15 * time.Second)
}

// TestNetworkHalfOpen drops data without a FIN, for longer than any timeout.
func TestNetworkHalfOpen(t *testing.T) {
	t.Parallel()
	r := shared(t)
	proxy := r.proxied()
	r.begin(2)
	r.fault(func() {
		remove := r.add(proxy, "timeout", `{"timeout": 0}`)
		time.Sleep(*long + 3*time.Second)
		remove()
	})
	r.end()
	r.recoveredWithin(15 * time.Second)
}

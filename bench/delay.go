package main

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// delay is the round-trip time between worker and server, in milliseconds, of two
// machines in one region.
const delay = 2

// delaySuite has the worker do the same work as in the suite ingest, with a distant
// server. Without a delay, it connects through the same proxy.
func delaySuite(ctx context.Context, r *rig) error {
	t := training{users: 1000, every: 1, first: 1, last: 100}
	if r.short {
		t.users, t.last = 20, 50
	}
	arriving, err := r.arriving(ctx, t, r.worker)
	if err != nil {
		return err
	}
	var contestants []contestant
	for _, perJob := range []int{1, 100} {
		c, err := r.lane(ctx, arriving, t, perJob)
		if err != nil {
			return err
		}
		for _, milliseconds := range []int{0, delay} {
			away := c
			away.name = fmt.Sprintf("%s_at_%dms", c.name, milliseconds)
			away.run = func(ctx context.Context, database string) (o outcome, err error) {
				through, stop, err := r.away(database, milliseconds)
				if err != nil {
					return o, err
				}
				defer stop()
				return r.work(ctx, database, through)
			}
			contestants = append(contestants, away)
		}
	}
	scores, err := r.compete(ctx, contestants...)
	if err != nil {
		return err
	}
	for i, s := range scores {
		near := scores[i-i%2]
		r.results = append(r.results, s.result(s.ofTimes(near)))
	}
	if err := r.drop(ctx, arriving); err != nil {
		return err
	}
	return r.dropTemplates(ctx, contestants)
}

// away returns the URL of a database through a proxy that delays data by half a round
// trip in each direction.
func (r *rig) away(database string, milliseconds int) (through string, stop func(), err error) {
	u, err := url.Parse(r.server.URL(database))
	if err != nil {
		return "", nil, err
	}
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop())
	proxy := toxiproxy.NewProxy(server, "postgres", "127.0.0.1:0", u.Host)
	if err := proxy.Start(); err != nil {
		return "", nil, err
	}
	if milliseconds > 0 {
		for _, stream := range []string{"upstream", "downstream"} {
			toxic := fmt.Sprintf(`{"type": "latency", "stream": %q, "attributes": {"latency": %d}}`, stream, milliseconds/2)
			if _, err := proxy.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
				proxy.Stop()
				return "", nil, err
			}
		}
	}
	u.Host = proxy.Listen
	return u.String(), proxy.Stop, nil
}

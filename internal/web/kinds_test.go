package web_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/internal/tokens"
	"github.com/trainingmonkey/worker/jobs"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// TestEveryKindIsShown: in the metrics by kind and on the status page.
func TestEveryKindIsShown(t *testing.T) {
	t.Parallel()
	ring, err := tokens.ParseKeyring("k1:" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", tokens.KeyBytes))))
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, dbtest.MigratedURL(t), func(c *config.Config) {
		c.TokenKeys, c.TokensClientSecret, c.Tokens.ClientID = ring, "secret", "7"
	})
	r.takeSnapshot()
	page, metrics := r.get("/").Body.String(), r.get("/metrics").Body.String()
	for _, kind := range jobs.Kinds() {
		for _, series := range []string{"jobs_enqueued_total", "jobs_worked_total", "jobs_failed_total", "jobs_cancelled_total", "jobs_discarded_total"} {
			if !strings.Contains(metrics, fmt.Sprintf("\ntmworker_%s{kind=%q", series, kind)) {
				t.Errorf("there is no %s of %s", series, kind)
			}
		}
		if !strings.Contains(page, `<th scope="row">`+kind+`</th>`) {
			t.Errorf("the status page does not have %s", kind)
		}
	}
	if _, found := r.metric(`tmworker_token_users_total{outcome="refreshed"}`); !found {
		t.Error("there is no metric of users whose tokens were refreshed")
	}
}

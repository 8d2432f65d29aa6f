package endtoend

import (
	"strings"
	"testing"

	"github.com/trainingmonkey/worker/test/dbtest"
)

// TestAthletesExport takes a real athlete's export from file to results, twice.
func TestAthletesExport(t *testing.T) {
	t.Parallel()
	url := dbtest.MigratedURL(t)
	pool := dbtest.Open(t, url)
	for i, chunk := range []string{"100", "100", "1", "1000"} {
		recalcs := query[int](t, pool, `SELECT count(*) FROM river.river_job WHERE kind = 'acwr_recalc'`)
		versions := query[string](t, pool, `SELECT coalesce(string_agg(xmin::text, ',' ORDER BY activity_id), '') FROM activities`)
		out, errs, code := commands.Run(t, url, "enqueue", "ingest", "--user", "7", "--timezone", "US/Pacific", "--chunk", chunk, absolute(t, "testdata/strava_export_runner.csv"))
		if code != 0 || !strings.Contains(out, "enqueued 610 activities") {
			t.Fatalf("enqueue ingest = %d\n%s%s", code, out, errs)
		}
		if _, errs, code := commands.Run(t, url, "worker", "run", "--drain"); code != 0 {
			t.Fatalf("worker run --drain = %d\n%s", code, errs)
		}
		if got := query[int](t, pool, `SELECT count(*) FROM activities`); got != 610 {
			t.Errorf("rows = %d, want 610", got)
		}
		if got := query[int](t, pool, `SELECT count(*) FROM ingest_rejects`) + unfinished(t, pool); got != 0 {
			t.Errorf("%d activities rejected or jobs unfinished", got)
		}
		checkOracle(t, pool)
		if i == 0 {
			continue
		}
		if after := query[string](t, pool, `SELECT string_agg(xmin::text, ',' ORDER BY activity_id) FROM activities`); after != versions {
			t.Errorf("ingesting again (--chunk %s) wrote rows", chunk)
		}
		if after := query[int](t, pool, `SELECT count(*) FROM river.river_job WHERE kind = 'acwr_recalc'`); after != recalcs {
			t.Errorf("ingesting again (--chunk %s) enqueued %d recalculations", chunk, after-recalcs)
		}
	}
}

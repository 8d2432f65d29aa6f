//go:build chaos

package chaos

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// TestFaultOfTheLane breaks something that every job needs, while many wait: no job
// spends an attempt, readiness reports the reason, and the fix is enough to resume.
func TestFaultOfTheLane(t *testing.T) {
	for _, fault := range []struct {
		name, breaks, cures, says string
		jobs                      int
	}{
		{"ColumnGone", `ALTER TABLE activities RENAME device_name TO gone`, `ALTER TABLE activities RENAME gone TO device_name`, "device_name", 5_000},
		{"PermissionGone", `REVOKE INSERT, UPDATE ON activities FROM {role}`, `GRANT INSERT, UPDATE ON activities TO {role}`, "permission denied", 50_000},
	} {
		t.Run(fault.name, func(t *testing.T) {
			r := shared(t)
			r.through = r.role()
			role, _, _ := strings.Cut(strings.TrimPrefix(r.through, "postgres://"), ":")
			w := r.startWorker()
			r.becomes(w, http.StatusOK, "")
			r.exec(strings.ReplaceAll(fault.breaks, "{role}", role))
			r.exec(`INSERT INTO river.river_job (kind, queue, args, max_attempts)
				SELECT 'activity_ingest', 'ingest', jsonb_build_object('activities', jsonb_build_array(jsonb_build_object(
					'activity_id', i, 'user_id', i % 5000 + 1, 'date', '2025-03-01', 'total_load_miles', 5, 'trimp', 50))), 25
				FROM generate_series(1, $1::int) AS i`, fault.jobs)
			r.becomes(w, http.StatusServiceUnavailable, fault.says)
			time.Sleep(*long)
			answer := r.becomes(w, http.StatusServiceUnavailable, fault.says)
			if spent := r.count(`SELECT count(*) FROM river.river_job WHERE attempt > 0 OR errors IS NOT NULL OR state <> 'available'`); spent > 0 {
				t.Errorf("%d jobs spent an attempt or changed state", spent)
			}
			r.exec(strings.ReplaceAll(fault.cures, "{role}", role))
			cured := time.Now()
			r.drained(time.Minute)
			t.Logf("/readyz said %s; %d jobs were done %v after the cure", answer, fault.jobs, time.Since(cured).Round(100*time.Millisecond))
			if completed := r.count(`SELECT count(*) FROM river.river_job WHERE state = 'completed' AND attempt = 1 AND errors IS NULL`); completed != fault.jobs {
				t.Errorf("%d of %d jobs were completed by their first attempt", completed, fault.jobs)
			}
			r.becomes(w, http.StatusOK, "")
			r.stopWorkers()
		})
	}
}

func (r *rig) count(sql string, args ...any) (n int) {
	r.Helper()
	err := r.connect(func(ctx context.Context, conn *pgx.Conn) error { return conn.QueryRow(ctx, sql, args...).Scan(&n) })
	if err != nil {
		r.Fatalf("%s: %v", sql, err)
	}
	return n
}

package adoption

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/internal/oracle"
	"github.com/trainingmonkey/worker/migrations"
	"github.com/trainingmonkey/worker/test/dbtest"
	"github.com/trainingmonkey/worker/workers"
)

// catalogQuery describes what the application created: columns up to its last one,
// constraints, triggers, and indexes with their files.
const catalogQuery = `
SELECT concat_ws(E'\n',
	(SELECT string_agg(concat_ws(' ', attrelid::regclass, attnum, attname, format_type(atttypid, atttypmod), attnotnull, attstattarget, pg_get_expr(adbin, adrelid)), E'\n' ORDER BY attrelid, attnum)
	 FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
	 WHERE attrelid IN ('activities'::regclass, 'user_settings'::regclass) AND attnum > 0 AND (attrelid <> 'activities'::regclass OR attnum <= $1)),
	(SELECT string_agg(concat_ws(' ', conrelid::regclass, conname, pg_get_constraintdef(oid)), E'\n' ORDER BY oid) FROM pg_constraint WHERE conrelid IN ('activities'::regclass, 'user_settings'::regclass)),
	(SELECT string_agg(concat_ws(' ', tgrelid::regclass, tgname), E'\n' ORDER BY oid) FROM pg_trigger WHERE tgrelid IN ('activities'::regclass, 'user_settings'::regclass)),
	(SELECT string_agg(concat_ws(' ', pg_get_indexdef(i.indexrelid), i.indisvalid, c.relfilenode), E'\n' ORDER BY i.indexrelid)
	 FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
	 WHERE i.indrelid IN ('activities'::regclass, 'user_settings'::regclass) AND c.relname NOT LIKE '%\_worker\_idx'),
	(SELECT string_agg(concat_ws(' ', oid::regclass, relfilenode, relowner, relacl, reloptions), E'\n' ORDER BY oid) FROM pg_class WHERE oid IN ('activities'::regclass, 'user_settings'::regclass)))`

// contentQuery is a hash over every row version: its position, and its values in the
// application's columns.
const contentQuery = `
SELECT count(*) || ' ' || md5(string_agg(concat_ws(' ', xmin, xmax, ctid, to_jsonb(a) - $1::text[]), '|' ORDER BY activity_id)) FROM activities a`

func TestMigratingLeavesEverythingAsItIs(t *testing.T) {
	t.Parallel()
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			pool := openApplication(t, v)
			var columns int
			var names []string
			if err := pool.QueryRow(t.Context(), `SELECT count(*), array_agg(attname::text) FROM pg_attribute WHERE attrelid = 'activities'::regclass AND attnum > 0`).Scan(&columns, &names); err != nil {
				t.Fatal(err)
			}
			added := func() (list []string) {
				err := pool.QueryRow(t.Context(), `SELECT coalesce(array_agg(attname::text), '{}') FROM pg_attribute
					WHERE attrelid = 'activities'::regclass AND attnum > 0 AND NOT attname = ANY($1)`, names).Scan(&list)
				if err != nil {
					t.Fatal(err)
				}
				return list
			}
			catalog, content := text(t, pool, catalogQuery, columns), text(t, pool, contentQuery, added())
			if !strings.HasPrefix(content, "4000 ") {
				t.Fatalf("the application has rows %s, want 4000", content)
			}

			steps, err := migrations.Plan(t.Context(), pool.Pool, dbtest.RiverSchema)
			if err != nil {
				t.Fatal(err)
			}
			planned := ""
			for _, step := range steps {
				planned += step.Name + ": " + step.Does + "\n"
			}
			for _, want := range v.planned {
				if !strings.Contains(planned, want) {
					t.Errorf("the plan lacks %q:\n%s", want, planned)
				}
			}
			if got := added(); len(got) > 0 {
				t.Errorf("planning added columns %v", got)
			}

			result, err := migrations.Up(t.Context(), pool.Pool, dbtest.RiverSchema)
			if err != nil {
				t.Fatal(err)
			}
			if applied := len(result.River) + len(result.Worker); applied != len(steps) {
				t.Errorf("applied %d migrations, planned %d", applied, len(steps))
			}
			for _, column := range added() {
				if !strings.Contains(planned, column+" ") {
					t.Errorf("column %s was added and not planned", column)
				}
			}
			if diff := cmp.Diff(catalog, text(t, pool, catalogQuery, columns)); diff != "" {
				t.Errorf("migrating changed the catalog:\n%s", diff)
			}
			if got := text(t, pool, contentQuery, added()); got != content {
				t.Errorf("migrating changed rows: %s, was %s", got, content)
			}
			built := []string{"activities_ingest_job_id_worker_idx"}
			if strings.Contains(planned, "on activities (user_id, date), CONCURRENTLY") {
				built = append(built, "activities_user_id_date_worker_idx")
			}
			if got := text(t, pool, `SELECT string_agg(indexname, ' ' ORDER BY indexname) FROM pg_indexes WHERE tablename = 'activities' AND indexname LIKE '%\_worker\_idx'`); got != strings.Join(built, " ") {
				t.Errorf("indexes %s were built, the plan was:\n%s", got, planned)
			}

			// The worker also works there: every result is correct, and nothing else changes.
			execute(t, pool, `SELECT river.enqueue_acwr_recalc(id, '2025-07-01', '2025-08-31') FROM user_settings`)
			s, err := workers.New(t.Context(), pool, config.Default(), slog.New(slog.DiscardHandler), nil)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := s.Drain(ctx); err != nil || ctx.Err() != nil {
				t.Fatalf("Drain() = %v", err)
			}
			if wrong, total, err := oracle.Check(t.Context(), pool); err != nil || total > 0 {
				t.Errorf("%d rows are wrong, %v: %v", total, err, wrong)
			}
			if got := text(t, pool, `SELECT concat_ws(' ', count(*), count(notes), sum(perceived_effort)) FROM activities`); got != "4000 450 18000" {
				t.Errorf("after the recalculation: %s", got)
			}
		})
	}
}

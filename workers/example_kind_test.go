package workers

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/internal/lane"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// WeightArgs is a job that stores an athlete's weight on a day.
type WeightArgs struct {
	UserID int32   `json:"user_id"`
	Date   string  `json:"date"` // YYYY-MM-DD
	Lbs    float64 `json:"weight_lbs"`
}

// Kind implements river.JobArgs.
func (WeightArgs) Kind() string { return "weight_store" }

// storeWeightsQuery writes all days of a batch at once, in key order, so that two
// batches cannot deadlock. Of several jobs for a day the one enqueued last wins: place
// is the order of the jobs, which are sorted by id.
const storeWeightsQuery = `
-- name: store_weights
INSERT INTO weights (user_id, date, weight_lbs)
SELECT DISTINCT ON (user_id, date) user_id, date, weight_lbs
FROM unnest($1::integer[], $2::date[], $3::float8[]) WITH ORDINALITY AS given (user_id, date, weight_lbs, place)
ORDER BY user_id, date, place DESC
ON CONFLICT (user_id, date) DO UPDATE SET weight_lbs = excluded.weight_lbs`

// weightKind describes these jobs to their lane.
func weightKind() lane.Kind[WeightArgs] {
	return lane.Kind[WeightArgs]{
		Name: WeightArgs{}.Kind(),
		Decode: func(data []byte) (args WeightArgs, err error) {
			if err = json.Unmarshal(data, &args); err == nil && args.UserID <= 0 {
				err = errors.New("user_id: must be a positive integer")
			}
			return args, err
		},
		Apply: func(ctx context.Context, tx pgx.Tx, first *pgx.Batch, batch []*lane.Job[WeightArgs]) (lane.Writes, error) {
			if err := tx.SendBatch(ctx, first).Close(); err != nil { // nothing to read
				return lane.Writes{}, err
			}
			b := &pgx.Batch{}
			queueWeights(b, batch)
			return lane.Writes{Batch: b}, nil
		},
		Probe: func(b *pgx.Batch) { queueWeights(b, nil) },
	}
}

func queueWeights(b *pgx.Batch, batch []*lane.Job[WeightArgs]) {
	var users []int32
	var dates []string
	var weights []float64
	for _, job := range batch {
		users, dates, weights = append(users, job.Args.UserID), append(dates, job.Args.Date), append(weights, job.Args.Lbs)
	}
	b.Queue(storeWeightsQuery, users, dates, weights)
}

// TestWeightsAreStored works a batch with one job that cannot be decoded and one that
// the database refuses: the others are stored in one commit.
func TestWeightsAreStored(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	execute(t, pool, `CREATE TABLE weights (user_id integer, date date, weight_lbs float8 CHECK (weight_lbs > 0), PRIMARY KEY (user_id, date))`)
	execute(t, pool, `INSERT INTO river.river_job (kind, queue, args, max_attempts) SELECT 'weight_store', 'weights', args, 25 FROM unnest(ARRAY[
		'{"user_id": 8, "date": "2025-09-28", "weight_lbs": 170}', '{"user_id": 7, "date": "2025-09-28", "weight_lbs": 150}', '{"user_id": 0}',
		'{"user_id": 7, "date": "2025-09-28", "weight_lbs": 151}', '{"user_id": 9, "date": "2025-09-28", "weight_lbs": -1}']::jsonb[]) AS args`)
	row := laneRow{Kind: WeightArgs{}.Kind(), Class: Live, Queue: "weights", Loops: 1}
	l := lane.New(pool, row.options(config.Default(), "example", &lane.Caution{}, nil, nil, slog.New(slog.DiscardHandler)), weightKind())
	for {
		found, err := l.Turn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if found == 0 {
			break
		}
	}
	if got := query[string](t, pool, `SELECT string_agg(concat_ws(' ', user_id, date, weight_lbs), ', ' ORDER BY user_id) FROM weights`); got != "7 2025-09-28 151, 8 2025-09-28 170" {
		t.Errorf("stored: %s", got)
	}
	const jobs = `SELECT string_agg(state || ' ' || coalesce(array_length(errors, 1), 0), ', ' ORDER BY id) FROM river.river_job`
	if got := query[string](t, pool, jobs); got != "completed 0, completed 0, cancelled 1, completed 0, available 1" { // the last is retried after a second
		t.Errorf("jobs with their errors are %s", got)
	}
}

var goBlock = regexp.MustCompile("(?ms)^```go\n(.*?)^```$")

// TestArchitecturePageShowsThisKind: the code on the page is the code of this file.
func TestArchitecturePageShowsThisKind(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	code, err := os.ReadFile("example_kind_test.go")
	if err != nil {
		t.Fatal(err)
	}
	blocks := goBlock.FindAllSubmatch(page, -1)
	if len(blocks) != 2 {
		t.Fatalf("docs/architecture.md has %d blocks of Go, want 2", len(blocks))
	}
	for _, block := range blocks {
		if !strings.Contains(string(code), string(block[1])) {
			t.Errorf("not in example_kind_test.go:\n%s", block[1])
		}
	}
}

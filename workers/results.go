package workers

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/trainingmonkey/worker/internal/acwr"
)

// storedResults are the seven result columns of a stored row.
type storedResults [7]pgtype.Float4

func (s *storedResults) targets() []any {
	targets := make([]any, len(s))
	for i := range s {
		targets[i] = &s[i]
	}
	return targets
}

// equal compares in the columns' type; NULL equals nothing.
func (s *storedResults) equal(v acwr.Values) bool {
	for i, want := range v.Array() {
		if !s[i].Valid || !acwr.Same(s[i].Float32, want) {
			return false
		}
	}
	return true
}

// resultRows are rows whose results will be written.
type resultRows []resultRow

type resultRow struct {
	activityID pgtype.Int8
	userID     int32
	date       time.Time
	values     acwr.Values
}

func (r *resultRows) add(row *activityResults, values acwr.Values) {
	*r = append(*r, resultRow{activityID: row.activityID, userID: row.userID, date: row.date, values: values})
}

// writeResultsQuery sets the seven columns and nothing else. It compares owner and date
// again, because a row that the application moved meanwhile must not get the results of
// its old date. The arrays are unnested as in writeStatements.
const writeResultsQuery = `
-- name: write_results` + writeResults + `a.activity_id = new.activity_id`

// writeKeylessResultsQuery finds the rows without an id by owner and date, which is enough:
// all rows of a day have the same results.
const writeKeylessResultsQuery = `
-- name: write_keyless_results` + writeResults + `a.activity_id IS NULL`

const writeResults = `
UPDATE activities AS a
SET seven_day_avg_load = new.acute_load, twentyeight_day_avg_load = new.chronic_load,
    seven_day_avg_trimp = new.acute_trimp, twentyeight_day_avg_trimp = new.chronic_trimp,
    acute_chronic_ratio = new.external, trimp_acute_chronic_ratio = new.internal,
    normalized_divergence = new.divergence
FROM (SELECT unnest($1::bigint[]) AS activity_id, unnest($2::int[]) AS user_id, unnest($3::date[]) AS date,
             unnest($4::real[]) AS acute_load, unnest($5::real[]) AS chronic_load, unnest($6::real[]) AS acute_trimp, unnest($7::real[]) AS chronic_trimp,
             unnest($8::real[]) AS external, unnest($9::real[]) AS internal, unnest($10::real[]) AS divergence) AS new
WHERE a.user_id = new.user_id AND a.date = new.date AND `

// batch returns a batch with the statement that writes the rows, empty without rows.
func (r resultRows) batch() *pgx.Batch {
	b := &pgx.Batch{}
	if len(r) > 0 {
		r.queue(b)
	}
	return b
}

// queue queues the update of the rows, in key order, in one statement, and that of rows
// without an id in another.
func (r resultRows) queue(b *pgx.Batch) {
	slices.SortFunc(r, func(a, b resultRow) int { return compareIDs(a.activityID, b.activityID) })
	keyed := len(r)
	for keyed > 0 && !r[keyed-1].activityID.Valid {
		keyed--
	}
	b.Queue(writeResultsQuery, r[:keyed].columns()...)
	if keyless := r[keyed:]; len(keyless) > 0 {
		slices.SortFunc(keyless, compareDays)
		days := slices.CompactFunc(slices.Clone(keyless), func(a, b resultRow) bool { return compareDays(a, b) == 0 })
		b.Queue(writeKeylessResultsQuery, days.columns()...)
	}
}

func compareDays(a, b resultRow) int {
	return cmp.Or(cmp.Compare(a.userID, b.userID), a.date.Compare(b.date))
}

// columns returns the rows as the parameters of writeResultsQuery.
func (r resultRows) columns() []any {
	ids, userIDs, dates := make([]int64, len(r)), make([]int32, len(r)), make([]time.Time, len(r))
	var columns [7][]float32
	for c := range columns {
		columns[c] = make([]float32, len(r))
	}
	for i, row := range r {
		ids[i], userIDs[i], dates[i] = row.activityID.Int64, row.userID, row.date
		for c, x := range row.values.Array() {
			columns[c][i] = x
		}
	}
	return []any{ids, userIDs, dates, columns[0], columns[1], columns[2], columns[3], columns[4], columns[5], columns[6]}
}

// compareIDs orders ids as ORDER BY does: NULLs last.
func compareIDs(a, b pgtype.Int8) int {
	switch {
	case a.Valid == b.Valid:
		return cmp.Compare(a.Int64, b.Int64)
	case a.Valid:
		return -1
	}
	return 1
}

func sortedKeys[V any](m map[int32]V) []int32 { return slices.Sorted(maps.Keys(m)) }

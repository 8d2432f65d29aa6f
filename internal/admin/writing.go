package admin

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/internal/queue"
)

// Modes of Writing besides those of acwr.write: on, compare and off.
const (
	WriteOn      = "on"
	WriteCompare = "compare"
	WriteOff     = "off"
	WriteMixed   = "mixed"   // live workers differ
	WriteUnknown = "unknown" // no worker is alive, or the live ones do not report it
)

// Writing says whether the live workers write results, by their own settings rather than
// the caller's, and how many rows have none.
type Writing struct {
	Mode           string `json:"mode"`
	RolloutPercent *int   `json:"rollout_percent"`      // null if the mode is mixed or unknown
	Says           string `json:"says"`                 // one sentence; empty when every athlete's results are written
	RowsWithout    int64  `json:"rows_without_results"` // of activities with a user and a finite date; the others never get any
	About          string `json:"about"`                // "about" or "at least" if RowsWithout was not counted; otherwise empty
}

// ToAllUsers reports whether results of every athlete are written.
func (w Writing) ToAllUsers() bool {
	return w.Mode == WriteOn && w.RolloutPercent != nil && *w.RolloutPercent == 100
}

// Withheld returns why an athlete's results are not written, or may not be;
// empty if they are.
func (w Writing) Withheld(userID int32) string {
	switch {
	case w.Mode == WriteOn && config.InRollout(int64(userID), *w.RolloutPercent):
		return ""
	case w.Mode == WriteOn:
		return fmt.Sprintf("athlete %d is not among the %d %% whose results are written (acwr.rollout_percent)", userID, *w.RolloutPercent)
	}
	return strings.TrimSuffix(w.Says, ".")
}

// Headline says in a few words what is not written; empty when everything is.
func (w Writing) Headline() string {
	switch {
	case w.ToAllUsers() || w.Mode == "":
		return ""
	case w.Mode == WriteOn:
		return fmt.Sprintf("Results are written for %d %% of the athletes", *w.RolloutPercent)
	case w.Mode == WriteMixed:
		return "Workers differ"
	case w.Mode == WriteUnknown:
		return "Not known whether results are written"
	}
	return "Results are not written"
}

// Rows says how many rows have no results, empty if none is known.
func (w Writing) Rows() string {
	switch {
	case w.RowsWithout == 0:
		return ""
	case w.About == "about":
		return "About " + counted(int(w.RowsWithout), "row has", "rows have") + " no results, by PostgreSQL's estimate."
	case w.About != "":
		return "At least " + counted(int(w.RowsWithout), "row has", "rows have") + " no results."
	}
	return counted(int(w.RowsWithout), "row has", "rows have") + " no results."
}

// combineWriting combines what the live workers report.
func combineWriting(processes []Process) Writing {
	type settings struct {
		write   string
		percent int
	}
	var said []settings
	workers, alive := map[settings]int{}, 0
	for _, p := range processes {
		if !p.Alive {
			continue
		}
		alive++
		s := settings{write: WriteUnknown}
		if p.Write != nil && p.RolloutPercent != nil {
			s = settings{*p.Write, *p.RolloutPercent}
		}
		if workers[s] == 0 {
			said = append(said, s)
		}
		workers[s]++
	}
	switch {
	case alive == 0:
		return Writing{Mode: WriteUnknown, Says: "Whether results are written is not known: no worker is alive."}
	case len(said) > 1:
		order := []string{WriteOn, WriteCompare, WriteOff, WriteUnknown}
		slices.SortFunc(said, func(a, b settings) int {
			return cmp.Or(cmp.Compare(slices.Index(order, a.write), slices.Index(order, b.write)), cmp.Compare(b.percent, a.percent))
		})
		var parts []string
		for _, s := range said {
			switch {
			case s.write == WriteUnknown:
				parts = append(parts, counted(workers[s], "does", "do")+" not say, being of an older version")
			case s.write == WriteOn && s.percent < 100:
				parts = append(parts, fmt.Sprintf("%d %s for %d %% of the athletes", workers[s], s.write, s.percent))
			default:
				parts = append(parts, fmt.Sprintf("%d %s", workers[s], s.write))
			}
		}
		return Writing{Mode: WriteMixed, Says: "Live workers differ in acwr.write, which says whether results are written: " + strings.Join(parts, ", ") + "."}
	}
	percent := said[0].percent
	w := Writing{Mode: said[0].write, RolloutPercent: &percent}
	switch {
	case w.Mode == WriteUnknown:
		w.RolloutPercent, w.Says = nil, "Live workers are of an older version and do not say whether they write results."
	case w.Mode == WriteOff:
		w.Says = "acwr.write is off: results are neither computed nor written."
	case w.Mode == WriteCompare:
		w.Says = "acwr.write is compare: results are computed and compared, and not written."
	case !w.ToAllUsers():
		w.Says = fmt.Sprintf("acwr.rollout_percent is %d: results of the other athletes are computed and compared, and not written.", percent)
	}
	return w
}

// WritingProcesses counts the live workers by mode: on, partly (on with a rollout
// below 100 percent), compare, off, unknown.
func (s Snapshot) WritingProcesses() map[string]int {
	n := map[string]int{WriteOn: 0, "partly": 0, WriteCompare: 0, WriteOff: 0, WriteUnknown: 0}
	for _, p := range s.Processes {
		switch {
		case !p.Alive:
		case p.Write == nil || p.RolloutPercent == nil:
			n[WriteUnknown]++
		case *p.Write == WriteOn && *p.RolloutPercent < 100:
			n["partly"]++
		case *p.Write == WriteOn || *p.Write == WriteCompare || *p.Write == WriteOff:
			n[*p.Write]++
		}
	}
	return n
}

// withoutResultsQuery reads a bounded number of rows in the order of the table,
// because no index finds those without results. Rows without a user or a finite date never
// get any.
const withoutResultsQuery = `
-- name: snapshot_without_results
SELECT count(*) FILTER (WHERE acute_chronic_ratio IS NULL AND user_id IS NOT NULL AND isfinite(date)), count(*)
FROM (SELECT acute_chronic_ratio, user_id, date FROM activities LIMIT $1) AS first`

const (
	selectWithoutResults = `SELECT FROM activities WHERE acute_chronic_ratio IS NULL`
	selectWithoutOwners  = `SELECT FROM activities WHERE user_id IS NULL OR date IS NULL`
)

// queueWithoutResults queues the counting of rows without results; read is how many
// rows were read.
func queueWithoutResults(batch *pgx.Batch, without, read *int64) {
	batch.Queue(withoutResultsQuery, maxCounted+1).QueryRow(func(row pgx.Row) error { return row.Scan(without, read) })
}

// estimateWithoutResults sets the number of rows without results. For tables with more rows
// than were read it is PostgreSQL's estimate, but never less than was counted. Rows without a
// user or a date are subtracted, because in one condition the planner would take them for
// rows that have results as often as others. What it expects of infinite dates, which are
// rare, is too coarse to be subtracted.
func (w *Writing) estimateWithoutResults(ctx context.Context, tx pgx.Tx, without, read int64) error {
	w.RowsWithout = without
	if read <= maxCounted {
		return nil
	}
	all, err := queue.EstimateRows(ctx, tx, selectWithoutResults)
	if err != nil {
		return err
	}
	never, err := queue.EstimateRows(ctx, tx, selectWithoutOwners)
	if err != nil {
		return err
	}
	estimate := int64(all - never)
	switch {
	case estimate > max(1, without): // the planner never estimates 0
		w.RowsWithout, w.About = estimate, "about"
	case without > 0:
		w.About = "at least"
	}
	return nil
}

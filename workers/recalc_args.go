package workers

import (
	"encoding/json"
	"fmt"

	"github.com/trainingmonkey/worker/jobs"
)

// recalcArgs is jobs.ACWRRecalc as the worker reads it: decoded dates, and a
// fault instead of an error that River would retry.
type recalcArgs struct {
	ranges []userRange
	fault  error
}

type userRange struct {
	userID int32
	dayRange
}

// Kind implements river.JobArgs.
func (recalcArgs) Kind() string { return jobs.KindACWRRecalc }

// UnmarshalJSON never returns an error; see recalcArgs.

func (args *recalcArgs) UnmarshalJSON(data []byte) error {
	var wire jobs.ACWRRecalc
	if err := json.Unmarshal(data, &wire); err != nil {
		args.fault = fmt.Errorf("args do not decode: %w", err)
		return nil
	}
	if err := wire.Validate(); err != nil {
		args.fault = fmt.Errorf("args do not decode: %w", err)
		return nil
	}
	args.ranges = make([]userRange, len(wire.Ranges))
	for i, r := range wire.Ranges {
		args.ranges[i] = userRange{r.UserID, dayRange{daysSinceEpoch(r.From), daysSinceEpoch(r.To)}}
	}
	return nil
}

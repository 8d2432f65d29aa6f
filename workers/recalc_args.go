package workers

import (
	"encoding/json"
	"fmt"

	"github.com/trainingmonkey/worker/jobs"
)

// recalcArgs is jobs.ACWRRecalc as the worker reads it: decoded dates.
type recalcArgs struct {
	ranges []userRange
}

type userRange struct {
	userID int32
	dayRange
}

func decodeRecalc(data []byte) (recalcArgs, error) {
	var wire jobs.ACWRRecalc
	err := json.Unmarshal(data, &wire)
	if err == nil {
		err = wire.Validate()
	}
	if err != nil {
		return recalcArgs{}, fmt.Errorf("args do not decode: %w", err)
	}
	args := recalcArgs{ranges: make([]userRange, len(wire.Ranges))}
	for i, r := range wire.Ranges {
		args.ranges[i] = userRange{r.UserID, dayRange{daysSinceEpoch(r.From), daysSinceEpoch(r.To)}}
	}
	return args, nil
}

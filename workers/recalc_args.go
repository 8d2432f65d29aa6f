package workers

import (
	"encoding/json"
	"fmt"

	"github.com/trainingmonkey/worker/jobs"
)

// recalcArgs is jobs.ACWRRecalc as the worker reads it, with dates as numbers of days.
type recalcArgs struct {
	ranges []userRange
}

type userRange struct {
	userID int32
	dayRange
}

// decodeArgs decodes the args of a job and validates them.
func decodeArgs[T interface{ Validate() error }](data []byte) (args T, err error) {
	if err = json.Unmarshal(data, &args); err == nil {
		err = args.Validate()
	}
	if err != nil {
		err = fmt.Errorf("args do not decode: %w", err)
	}
	return args, err
}

func decodeRecalc(data []byte) (recalcArgs, error) {
	wire, err := decodeArgs[jobs.ACWRRecalc](data)
	if err != nil {
		return recalcArgs{}, err
	}
	args := recalcArgs{ranges: make([]userRange, len(wire.Ranges))}
	for i, r := range wire.Ranges {
		args.ranges[i] = userRange{r.UserID, dayRange{daysSinceEpoch(r.From), daysSinceEpoch(r.To)}}
	}
	return args, nil
}

package workers

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/trainingmonkey/worker/jobs"
)

// ingestArgs is jobs.ActivityIngest as the worker reads it: decoding never
// fails as a whole, so that one bad activity costs its neighbours nothing.
type ingestArgs struct {
	items []ingestItem
	fault error // the args are not those of an ingest job at all
}

// ingestItem is one activity of a job. fault says why it is to be rejected.
type ingestItem struct {
	activity jobs.Activity
	payload  json.RawMessage
	fault    error
}

// Kind implements river.JobArgs.
func (ingestArgs) Kind() string { return jobs.KindActivityIngest }

// UnmarshalJSON never returns an error; see ingestArgs.
func (args *ingestArgs) UnmarshalJSON(data []byte) error {
	var envelope struct {
		Activities []json.RawMessage `json:"activities"`
	}
	if err := json.Unmarshal(data, &envelope); err != nil {
		args.fault = fmt.Errorf("args do not decode: %w", err)
		return nil
	}
	if len(envelope.Activities) == 0 {
		args.fault = errors.New("args do not decode: activities: a job needs at least one")
		return nil
	}
	args.items = make([]ingestItem, len(envelope.Activities))
	for i, payload := range envelope.Activities {
		activity, err := jobs.DecodeActivity(payload)
		args.items[i] = ingestItem{activity: activity, payload: payload, fault: err}
	}
	return nil
}

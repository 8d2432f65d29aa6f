package workers

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/trainingmonkey/worker/jobs"
)

// ingestArgs is jobs.ActivityIngest as the worker reads it: one bad activity
// costs its neighbours nothing.
type ingestArgs struct {
	items []ingestItem
}

// ingestItem is one activity of a job. fault says why it is to be rejected.
type ingestItem struct {
	activity jobs.Activity
	payload  json.RawMessage
	fault    error
}

// decodeIngest fails only when the args are not those of an ingest job at all.
func decodeIngest(data []byte) (args ingestArgs, err error) {
	var envelope struct {
		Activities []json.RawMessage `json:"activities"`
	}
	if err := json.Unmarshal(data, &envelope); err != nil {
		return args, fmt.Errorf("args do not decode: %w", err)
	}
	if len(envelope.Activities) == 0 {
		return args, errors.New("args do not decode: activities: a job needs at least one")
	}
	args.items = make([]ingestItem, len(envelope.Activities))
	for i, payload := range envelope.Activities {
		activity, err := jobs.DecodeActivity(payload)
		args.items[i] = ingestItem{activity: activity, payload: payload, fault: err}
	}
	return args, nil
}

// encodeIngest is the opposite, for what is left of a job.
func encodeIngest(items []ingestItem) ([]byte, error) {
	payloads := make([]json.RawMessage, len(items))
	for i, item := range items {
		payloads[i] = item.payload
	}
	return json.Marshal(map[string][]json.RawMessage{"activities": payloads})
}

package workers

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	fastjson "github.com/segmentio/encoding/json"

	"github.com/trainingmonkey/worker/jobs"
)

// ingestArgs is jobs.ActivityIngest as the worker reads it: an invalid activity does not
// affect the others.
type ingestArgs struct {
	items  []ingestItem
	purged purges // of the batch's users, known once they are locked
}

// kept returns the items without those of athletes whose data were purged after
// the job was enqueued.
func (args *ingestArgs) kept(jobID int64) []ingestItem {
	covered := func(item ingestItem) bool {
		userID, known := item.userID()
		return known && args.purged.covers(userID, jobID)
	}
	if len(args.purged) == 0 || !slices.ContainsFunc(args.items, covered) {
		return args.items
	}
	return slices.DeleteFunc(slices.Clone(args.items), covered)
}

// ingestItem is one activity of a job. fault is why it will be rejected, nil
// for a valid one.
type ingestItem struct {
	activity *jobs.Activity
	fault    error
	payloads *payloads
	index    int // in payloads
}

// userID returns the activity's user, if known: an invalid activity may have none.
func (item *ingestItem) userID() (id int32, known bool) {
	if item.fault == nil {
		return item.activity.UserID, true
	}
	var fields struct {
		UserID json.RawMessage `json:"user_id"`
	}
	if json.Unmarshal(item.payload(), &fields) != nil {
		return 0, false
	}
	number, err := strconv.ParseInt(strings.Trim(string(fields.UserID), `"`), 10, 32)
	return int32(number), err == nil && number > 0
}

// payload is the activity as it was enqueued.
func (item *ingestItem) payload() json.RawMessage { return item.payloads.at(item.index) }

// payloads are the activities of a job as they were enqueued. Only rejected and left-over
// activities need them.
type payloads struct {
	args []byte
	each []json.RawMessage // nil until first used
}

func (p *payloads) at(i int) json.RawMessage {
	if p.each == nil {
		p.each, _ = splitIngest(p.args) // they decoded before
	}
	return p.each[i]
}

func splitIngest(args []byte) ([]json.RawMessage, error) {
	var envelope struct {
		Activities []json.RawMessage `json:"activities"`
	}
	if err := json.Unmarshal(args, &envelope); err != nil {
		return nil, fmt.Errorf("args do not decode: %w", err)
	}
	return envelope.Activities, nil
}

// decodeIngest fails only if the args are not those of an ingest job. If all activities
// decode, as they usually do, they are decoded at once, otherwise one by one.
func decodeIngest(data []byte) (args ingestArgs, err error) {
	all := payloads{args: data}
	var envelope struct {
		Activities []jobs.Activity `json:"activities"`
	}
	envelope.Activities = make([]jobs.Activity, 0, bytes.Count(data, activityKey))
	if err := fastjson.Unmarshal(data, &envelope); err != nil {
		if all.each, err = splitIngest(data); err != nil {
			return args, err
		}
		envelope.Activities = make([]jobs.Activity, len(all.each))
	}
	if len(envelope.Activities) == 0 {
		return args, errors.New("args do not decode: activities: a job needs at least one")
	}
	args.items = make([]ingestItem, len(envelope.Activities))
	for i := range envelope.Activities {
		item := ingestItem{activity: &envelope.Activities[i], payloads: &all, index: i}
		if all.each == nil {
			item.fault = item.activity.Validate()
		} else {
			*item.activity, item.fault = jobs.DecodeActivity(all.each[i])
		}
		args.items[i] = item
	}
	return args, nil
}

// activityKey occurs in every activity, so its count estimates the number of activities.
var activityKey = []byte(`"activity_id"`)

// encodeIngest encodes the remaining activities of a job.
func encodeIngest(items []ingestItem) ([]byte, error) {
	each := make([]json.RawMessage, len(items))
	for i, item := range items {
		each[i] = item.payload()
	}
	return json.Marshal(map[string][]json.RawMessage{"activities": each})
}

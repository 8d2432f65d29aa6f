package jobs

import (
	"errors"
	"fmt"

	"github.com/riverqueue/river"
)

// Queue names. Each kind has queues of its own, so that kinds do not wait for
// each other and can be paused separately. Jobs that an athlete waits for and
// imports of histories have separate queues, because priority alone does not
// free a slot that a job of lower priority occupies.
const (
	QueueIngest     = "ingest"
	QueueIngestBulk = "ingest_bulk"
	QueueRecalc     = "recalc"
	QueueRecalcBulk = "recalc_bulk"
)

// Priorities: River works lower numbers first. Jobs that an athlete waits for
// are live; imports of histories are bulk. Any priority above PriorityLive goes
// through the bulk lane.
const (
	PriorityLive = 1
	PriorityBulk = 3
)

// MaxLiveActivities is how many activities a job in the live lane may carry. A
// larger job goes through the bulk lane and keeps its priority.
const MaxLiveActivities = 25

// MaxActivitiesPerJob is how many activities one activity_ingest job may carry.
const MaxActivitiesPerJob = 1000

// MaxRangesPerJob is how many date ranges one acwr_recalc job may carry. An
// ingest commit with more inserts several jobs.
const MaxRangesPerJob = 10_000

// ActivityIngest stores 1 to 1,000 activities of any mix of users. One commit
// writes the rows and their results, records invalid activities in
// ingest_rejects, enqueues recalculations where needed, and completes the job.
// Of several versions of an activity the most recently enqueued wins.
type ActivityIngest struct {
	Activities []Activity `json:"activities"`
}

// Kind implements river.JobArgs.
func (ActivityIngest) Kind() string { return KindActivityIngest }

// InsertOpts implements river.JobArgsWithInsertOpts.
func (args ActivityIngest) InsertOpts() river.InsertOpts { return args.insertOpts(PriorityLive) }

func (args ActivityIngest) insertOpts(priority int) river.InsertOpts {
	queue := QueueIngest
	if priority > PriorityLive || len(args.Activities) > MaxLiveActivities {
		queue = QueueIngestBulk
	}
	return river.InsertOpts{Queue: queue, Priority: priority}
}

// Validate reports the first hundred activities that are invalid, each with its
// index in the job.
func (args ActivityIngest) Validate() error {
	switch n := len(args.Activities); {
	case n == 0:
		return errors.New("activities: a job needs at least one")
	case n > MaxActivitiesPerJob:
		return fmt.Errorf("activities: a job takes at most %d, got %d", MaxActivitiesPerJob, n)
	}
	const maxReported = 100
	var faults []error
	for i := range args.Activities {
		if err := args.Activities[i].Validate(); err != nil && len(faults) < maxReported {
			faults = append(faults, fmt.Errorf("activities[%d] (activity_id %d): %w", i, args.Activities[i].ActivityID, err))
		}
	}
	return errors.Join(faults...)
}

// DateRange is a range of dates, both ends included, on which a user's
// activities changed. JSON dates are YYYY-MM-DD.
type DateRange struct {
	UserID int32  `json:"user_id"`
	From   string `json:"from"`
	To     string `json:"to"`
}

// ACWRRecalc recalculates the seven ACWR columns of every activity dated in [From, To +
// chronic window − 1] of each range.
type ACWRRecalc struct {
	Ranges []DateRange `json:"ranges"`
}

// Kind implements river.JobArgs.
func (ACWRRecalc) Kind() string { return KindACWRRecalc }

// InsertOpts implements river.JobArgsWithInsertOpts.
func (args ACWRRecalc) InsertOpts() river.InsertOpts { return args.insertOpts(PriorityLive) }

func (ACWRRecalc) insertOpts(priority int) river.InsertOpts {
	queue := QueueRecalc
	if priority > PriorityLive {
		queue = QueueRecalcBulk
	}
	return river.InsertOpts{Queue: queue, Priority: priority}
}

// Validate reports every invalid range with its index in the job.
func (args ACWRRecalc) Validate() error {
	switch n := len(args.Ranges); {
	case n == 0:
		return errors.New("ranges: a job needs at least one")
	case n > MaxRangesPerJob:
		return fmt.Errorf("ranges: a job takes at most %d, got %d", MaxRangesPerJob, n)
	}
	var faults []error
	for i := range args.Ranges {
		if err := args.Ranges[i].Validate(); err != nil {
			faults = append(faults, fmt.Errorf("ranges[%d]: %w", i, err))
		}
	}
	return errors.Join(faults...)
}

// Validate reports every fault of the range at once, or nil.
func (r DateRange) Validate() error {
	var faults faultList
	if r.UserID <= 0 {
		faults.add("user_id", "must be a positive integer, got %d", r.UserID)
	}
	from, fromErr := ParseDate(r.From)
	if fromErr != nil {
		faults.add("from", "%s", fromErr)
	}
	to, toErr := ParseDate(r.To)
	if toErr != nil {
		faults.add("to", "%s", toErr)
	}
	if fromErr == nil && toErr == nil && to.Before(from) {
		faults.add("to", "must not lie before from (%s), got %s", r.From, r.To)
	}
	return faults.err()
}

// Kinds of jobs, as in river_job.kind.
const (
	KindActivityIngest = "activity_ingest"
	KindACWRRecalc     = "acwr_recalc"
)

// Kinds returns all kinds.
func Kinds() []string {
	return []string{KindActivityIngest, KindACWRRecalc, KindACWRBackfill, KindTokenRefresh}
}

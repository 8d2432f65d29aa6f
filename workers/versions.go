package workers

import (
	"cmp"
	"slices"
)

// versionKey identifies the versions of one activity that one user enqueued.
type versionKey struct {
	userID     int32
	activityID int64
}

// recordedVersion is the newest version of an activity whose row does not record it, or
// not fully.
type recordedVersion struct {
	jobID  int64
	layers *layered // nil unless the newest versions are partial
}

// versionRecords are rows of ingest_versions as arrays for unnest.
type versionRecords struct {
	userIDs     []int32
	activityIDs []int64
	jobIDs      []int64
	layers      []*layered
	replaces    []bool // the record is written even if no older version may be worked
}

func (r *versionRecords) add(key versionKey, jobID int64, layers *layered, replaces bool) {
	r.userIDs = append(r.userIDs, key.userID)
	r.activityIDs = append(r.activityIDs, key.activityID)
	r.jobIDs = append(r.jobIDs, jobID)
	r.layers = append(r.layers, layers)
	r.replaces = append(r.replaces, replaces)
}

// sorted returns the records in the order of the primary key, the order of writes.
func (r *versionRecords) sorted() versionRecords {
	order := make([]int, len(r.userIDs))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(r.userIDs[a], r.userIDs[b]), cmp.Compare(r.activityIDs[a], r.activityIDs[b]))
	})
	var out versionRecords
	for _, i := range order {
		out.add(versionKey{r.userIDs[i], r.activityIDs[i]}, r.jobIDs[i], r.layers[i], r.replaces[i])
	}
	return out
}

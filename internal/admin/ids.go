package admin

// JobIDs are ids that jobs were given, which order the versions of activities.
type JobIDs struct {
	Last    int64 // the newest; 0 for a role that may not see it
	Highest int64 // the newest that a Watch has seen
}

// WentBack reports whether new jobs get ids that former ones had, so that newer versions of
// activities would be mistaken for older ones. A starting worker, and worker check, compare
// with every stored version instead.
func (ids JobIDs) WentBack() bool { return 0 < ids.Last && ids.Last < ids.Highest }

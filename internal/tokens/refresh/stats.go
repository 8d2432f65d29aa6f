package refresh

import "sync/atomic"

// Stats counts users, not jobs, since the process started.
type Stats struct {
	Refreshed  int64 `json:"refreshed"`
	Fresh      int64 `json:"fresh"`      // nothing to do
	Superseded int64 `json:"superseded"` // newer tokens were stored during the request
	Failed     int64 `json:"failed"`     // including Marked
	Marked     int64 `json:"marked"`     // users who have to authorize again
}

type counters struct{ refreshed, fresh, superseded, failed, marked atomic.Int64 }

// Stats returns the counts so far.
func (r *Refresher) Stats() Stats {
	return Stats{
		Refreshed: r.counts.refreshed.Load(), Fresh: r.counts.fresh.Load(), Superseded: r.counts.superseded.Load(),
		Failed: r.counts.failed.Load(), Marked: r.counts.marked.Load(),
	}
}

//go:build chaos

package workers

import "github.com/riverqueue/river"

// planted panics in the middle of a batch when one of its activities asks for it.
func planted(batch []*river.Job[ingestArgs]) {
	for _, job := range batch {
		for i := range job.Args.items {
			if name := job.Args.items[i].activity.Name; name != nil && *name == "planted panic" {
				panic("planted")
			}
		}
	}
}

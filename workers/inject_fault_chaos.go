//go:build chaos

package workers

// injectFault panics, or exhausts memory, in the middle of a batch if the name
// of an activity asks for it.
func injectFault(batch []*ingestJob) {
	for _, job := range batch {
		for i := range job.Args.items {
			name := job.Args.items[i].activity.Name
			switch {
			case name == nil:
			case *name == "injected panic":
				panic("injected")
			case *name == "injected exhaustion":
				for hoard := []byte{1}; len(hoard) > 0; {
					hoard = append(hoard, hoard...)
				}
			}
		}
	}
}

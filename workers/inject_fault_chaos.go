//go:build chaos

package workers

// injectFault panics, or exhausts the memory, in the middle of a batch when one
// of its activities asks for it.
func injectFault(batch []*ingestJob) {
	for _, job := range batch {
		for i := range job.Args.items {
			name := job.Args.items[i].activity.Name
			switch {
			case name == nil:
			case *name == "injected panic":
				panic("injected")
			case *name == "injected exhaustion":
				var hoard [][]byte
				for {
					block := make([]byte, 64<<20)
					for i := 0; i < len(block); i += 4096 {
						block[i] = 1
					}
					hoard = append(hoard, block)
				}
			}
		}
	}
}

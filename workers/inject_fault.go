//go:build !chaos

package workers

// injectFault is where the chaos suite's build injects its faults.
func injectFault([]*ingestJob) {}

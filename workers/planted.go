//go:build !chaos

package workers

import "github.com/riverqueue/river"

// planted is where the chaos suite's build plants its faults.
func planted([]*river.Job[ingestArgs]) {}

package main

import "testing"

func TestHelp(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{}, {"--help"}, {"help", "ingest"}, {"ingest", "--help"}, {"recalc", "-h"}, {"acwr", "--help"}, {"athlete", "purge", "--help"}} {
		enqueue(t, args...).want(t, 0, "Usage:\n  enqueue", "Examples:")
	}
}

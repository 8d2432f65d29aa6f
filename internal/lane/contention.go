package lane

import "time"

// Loops that need the locks of the same few users would wait for them with jobs
// claimed: each would have a few jobs of every user, and rewrite what the others
// have just written. So after a wait for locks the loops of a lane claim in
// slots for a while, each from a share of its own.

const (
	// contentionAfter is the wait for locks after which loops claim from shares.
	contentionAfter = 20 * time.Millisecond
	// contentionFor is how long they do.
	contentionFor = 5 * time.Second
	// shareAgainAfter is the min time between two divisions of the remaining jobs,
	// which cannot be divided if they are all one user's.
	shareAgainAfter = 100 * time.Millisecond
)

// isContended reports whether each loop claims from its own share.
func (l *Lane[T]) isContended() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Now().Before(l.contended)
}

// shareRest divides the remaining jobs by another digit, after a loop found no more of
// its share while the others' may still be large. All loops continue from the cursor
// that is furthest behind. l.mu is held.
func (l *Lane[T]) shareRest(now time.Time) {
	if now.Before(l.sharedAt.Add(shareAgainAfter)) {
		return
	}
	l.digit, l.sharedAt = l.digit+1, now
	hindmost := l.hindmost().at
	for i := range l.cursors {
		l.cursors[i].setBack(hindmost)
	}
}

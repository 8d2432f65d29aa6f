package lane

import "time"

// Loops that want the locks of the same few users would wait for them with their
// claims in hand: each would have a few jobs of every user, and rewrite for them
// what the others have just written. So the loops of a lane that has waited for
// locks claim in slots, and jobs of a share of their own, for a while.

const (
	// contentionAfter is the wait for locks that begins it.
	contentionAfter = 20 * time.Millisecond
	// contentionFor is for how long.
	contentionFor = 5 * time.Second
)

// isContended reports whether loops take jobs of a share of their own.
func (l *Lane[T]) isContended() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Now().Before(l.contended)
}

package lane

import (
	"time"

	"github.com/trainingmonkey/worker/internal/queue"
)

// Loops that want the locks of the same few users would wait for them with their
// claims in hand: each would have a few jobs of every user, and rewrite for them
// what the others have just written. So the loops of a lane that has waited for
// locks claim in slots, and jobs of a share of their own, for a while.

const (
	// contentionAfter is the wait for locks that begins it.
	contentionAfter = 20 * time.Millisecond
	// contentionFor is for how long.
	contentionFor = 5 * time.Second
	// shareAgainAfter is between two divisions of what is left: it may be of one user,
	// and not to be divided.
	shareAgainAfter = 100 * time.Millisecond
)

// isContended reports whether loops take jobs of a share of their own.
func (l *Lane[T]) isContended() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Now().Before(l.contended)
}

// shareRest divides what is left by another digit: a loop has found nothing more of its
// share, and the shares of the others may be large still. All loops go on from where the
// hindmost is. l.mu is held.
func (l *Lane[T]) shareRest(now time.Time) {
	if now.Before(l.sharedAt.Add(shareAgainAfter)) {
		return
	}
	l.digit, l.sharedAt = l.digit+1, now
	hindmost := l.cursors[0].at
	for _, c := range l.cursors {
		if hindmost.After(c.at) {
			hindmost = c.at
		}
	}
	for i := range l.cursors {
		l.cursors[i].at, l.cursors[i].end = hindmost, queue.Position{}
	}
}

package tokens

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// SaverOptions tune a Saver. All are required.
type SaverOptions struct {
	MaxBatch int           // operations in one transaction
	MaxWait  time.Duration // how long the first of a batch waits for others, at most
	Timeout  time.Duration // one transaction with its retries
}

// Saver lets operations that are saved concurrently share transactions: one is
// committed while the next gathers. Its goroutine starts with an operation and
// ends when none is left: there is nothing to start or to close.
type Saver struct {
	store   *Store
	options SaverOptions

	mu      sync.Mutex
	waiting []*pending // oldest first
	full    chan struct{}
	running bool
}

// pending is one operation on its way.
type pending struct {
	operation Operation
	since     time.Time
	outcome   chan outcome // receives exactly one value
}

type outcome struct {
	refusal error // of the operation
	err     error // of the transaction
}

// NewSaver returns a Saver over the store.
func NewSaver(store *Store, options SaverOptions) *Saver {
	return &Saver{store: store, options: options, full: make(chan struct{}, 1)}
}

// Save carries out one operation in a transaction that others may share.
// refusal and err are as those of Store.Save. When ctx ends before a transaction
// took the operation it is withdrawn; after that Save waits for the outcome,
// whatever ctx says.
func (s *Saver) Save(ctx context.Context, operation Operation) (refusal, err error) {
	p := &pending{operation: operation, since: time.Now(), outcome: make(chan outcome, 1)}
	s.add(p)
	select {
	case v := <-p.outcome:
		return v.refusal, v.err
	case <-ctx.Done():
	}
	if s.withdraw(p) {
		return nil, context.Cause(ctx)
	}
	v := <-p.outcome
	return v.refusal, v.err
}

func (s *Saver) add(p *pending) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = append(s.waiting, p)
	if len(s.waiting) >= s.options.MaxBatch {
		s.signal()
	}
	if !s.running {
		s.running = true
		go s.run()
	}
}

func (s *Saver) signal() {
	select {
	case s.full <- struct{}{}:
	default:
	}
}

func (s *Saver) withdraw(p *pending) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.waiting, p)
	if i < 0 {
		return false
	}
	s.waiting = slices.Delete(s.waiting, i, i+1)
	return true
}

// run saves batches until nothing waits.
func (s *Saver) run() {
	for {
		batch := s.next()
		if batch == nil {
			return
		}
		s.save(batch)
	}
}

// next waits until a batch is full or its first operation has waited for MaxWait, and
// returns the batch; nil ends the goroutine.
func (s *Saver) next() []*pending {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.waiting) > 0 && len(s.waiting) < s.options.MaxBatch {
		wait := time.Until(s.waiting[0].since.Add(s.options.MaxWait))
		if wait <= 0 {
			break
		}
		timer := time.NewTimer(wait)
		s.mu.Unlock()
		select {
		case <-s.full:
		case <-timer.C:
		}
		timer.Stop()
		s.mu.Lock()
	}
	n := min(len(s.waiting), s.options.MaxBatch)
	if n == 0 {
		s.running = false
		return nil
	}
	batch := s.waiting[:n:n]
	s.waiting = append([]*pending(nil), s.waiting[n:]...)
	return batch
}

// save sends every operation of the batch its outcome, even after a panic.
func (s *Saver) save(batch []*pending) {
	ctx, cancel := context.WithTimeout(context.Background(), s.options.Timeout)
	defer cancel()
	answered := 0
	defer func() {
		if value := recover(); value != nil {
			for _, p := range batch[answered:] {
				p.outcome <- outcome{err: fmt.Errorf("panic: %v", value)}
			}
		}
	}()
	operations := make([]Operation, len(batch))
	for i, p := range batch {
		operations[i] = p.operation
	}
	outcomes, err := s.store.Save(ctx, operations)
	for i, p := range batch {
		v := outcome{err: err}
		if err == nil {
			v.refusal = outcomes[i]
		}
		p.outcome <- v
		answered++
	}
}

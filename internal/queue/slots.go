package queue

import (
	"fmt"

	"github.com/jackc/pgx/v5"
)

// A queue has a slot for each number of a loop. Of the transactions that claim in a
// slot one at a time does, whatever its process.

// takeSlot takes a lock that ends with the transaction, or has it already. It does
// not wait: a transaction that queues for a lock holds a connection.
func takeSlot(queue, part string) string {
	return fmt.Sprintf(`pg_try_advisory_xact_lock(hashtext('trainingmonkey.queue.' || %s::text), %s::int)`, queue, part)
}

// inSlot is true of all jobs of a share or of none: a subquery without a reference
// to the row is run once, and only when it is asked for.
func inSlot(queue, part, asked string) string {
	return `(NOT ` + asked + `::bool OR (SELECT ` + takeSlot(queue, part) + `))`
}

var takeSlotQuery = `
-- name: take_slot
SELECT ` + takeSlot("$1", "$2")

// TakeSlot queues the taking of a share's slot until the transaction ends, before
// claims that follow in the batch. taken reports whether that succeeded.
func TakeSlot(b *pgx.Batch, queue string, share Share, taken *bool) {
	b.Queue(takeSlotQuery, queue, share.Part).QueryRow(func(row pgx.Row) error { return row.Scan(taken) })
}

// SlotFree queues the check whether a share's slot is free. It is to be sent outside
// a transaction, and by itself: until its batch ends, no transaction can take it.
func SlotFree(b *pgx.Batch, queue string, share Share, free *bool) { TakeSlot(b, queue, share, free) }

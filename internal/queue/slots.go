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
// claims that follow in the batch. taken reports whether that succeeded. By itself and
// outside a transaction it only checks whether the slot is free: it ends with its batch.
func TakeSlot(b *pgx.Batch, queue string, share Share, taken *bool) {
	b.Queue(takeSlotQuery, queue, share.Part).QueryRow(func(row pgx.Row) error { return row.Scan(taken) })
}

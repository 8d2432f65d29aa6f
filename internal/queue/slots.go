package queue

import (
	"fmt"

	"github.com/jackc/pgx/v5"
)

// A queue has a slot for each loop number. Among all processes, one transaction at
// a time claims in a slot.

// takeSlot is an expression that takes a lock until the transaction ends, and is
// true if the transaction has it. It does not wait, because a transaction that
// waits occupies a connection.
func takeSlot(queue, part string) string {
	return fmt.Sprintf(`pg_try_advisory_xact_lock(hashtext('trainingmonkey.queue.' || %s::text), %s::int)`, queue, part)
}

// inSlot is a condition that is true of all jobs or of none: a subquery without a
// reference to the row runs once, and only if asked is true.
func inSlot(queue, part, asked string) string {
	return `(NOT ` + asked + `::bool OR (SELECT ` + takeSlot(queue, part) + `))`
}

var takeSlotQuery = `
-- name: take_slot
SELECT ` + takeSlot("$1", "$2")

// TakeSlot queues the statement that takes a share's slot until the transaction ends,
// for the claims after it in the batch. taken reports whether that succeeded. Outside a
// transaction it only checks whether the slot is free, because the lock ends with the
// batch.
func TakeSlot(b *pgx.Batch, queue string, share Share, taken *bool) {
	b.Queue(takeSlotQuery, queue, share.Part).QueryRow(func(row pgx.Row) error { return row.Scan(taken) })
}

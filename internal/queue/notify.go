package queue

// insertPayload is the payload of a notification on Topic, in a query over rows
// that have a queue.
const insertPayload = `json_build_object('queue', queue)::text`

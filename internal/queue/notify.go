package queue

// insertTopic is the channel on which workers hear of jobs that became
// available.
func (s Schema) insertTopic() string { return string(s) + ".river_insert" }

// insertPayload is the notification's payload, in a query over rows that have a
// queue.
const insertPayload = `json_build_object('queue', queue)::text`

package throughput

import (
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/internal/queue"
)

const (
	// Step is the time that a point covers.
	Step = time.Minute
	// Points is the number of points in the last hour.
	Points = 60
)

// Point is the work of all processes within one step.
type Point struct {
	Committed, Failed int64         // as in the table
	Median, P99       time.Duration // from a job's insertion to its commit, interpolated; 0 without jobs
}

// lastHourQuery sums minutes, of which the last ends with the newest complete bucket.
// It reads at most 360 rows of each kind, along the primary key, and returns at most
// 60. It reads arrays by subscripts, because unnesting them would yield tens of
// thousands of rows.
var lastHourQuery = `
-- name: snapshot_throughput
SELECT floor((extract(epoch FROM date_bin('10 seconds', now(), timestamptz 'epoch') - bucket) - 10) / 60)::integer,
       sum(committed)::bigint, sum(failed)::bigint, ` + forEachBin("sum(latencies[%d])") + `::bigint[]
FROM {schema}.worker_throughput
WHERE bucket >= date_bin('10 seconds', now(), timestamptz 'epoch') - interval '1 hour' AND bucket < date_bin('10 seconds', now(), timestamptz 'epoch')
GROUP BY 1`

// QueueLastHour queues the reading of the points of the last hour, oldest first. There is
// one for each step, including idle ones.
func QueueLastHour(b *pgx.Batch, riverSchema string, points *[]Point) {
	b.Queue(queue.Schema(riverSchema).SQL(lastHourQuery)).Query(func(rows pgx.Rows) error {
		read := make([]Point, Points)
		var stepsAgo int
		var committed, failed int64
		var latencies []int64
		_, err := pgx.ForEachRow(rows, []any{&stepsAgo, &committed, &failed, &latencies}, func() error {
			read[Points-1-stepsAgo] = Point{committed, failed, quantile(latencies, .5), quantile(latencies, .99)}
			return nil
		})
		*points = read
		return err
	})
}

// quantile interpolates linearly within a bin, as PromQL does. Values in the last bin
// count as its lower bound.
func quantile(latencies []int64, q float64) time.Duration {
	var all int64
	for _, n := range latencies {
		all += n
	}
	rank, below := q*float64(all), 0.0
	for bin, n := range latencies {
		upTo := below + float64(n)
		if from, to := bounds(bin); n > 0 && upTo >= rank {
			if bin == bins-1 {
				return from
			}
			return from + time.Duration((rank-below)/float64(n)*float64(to-from))
		}
		below = upTo
	}
	return 0
}

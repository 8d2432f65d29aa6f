package workers

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"
)

// sweepInterval is how often recorded versions that nobody can ask for any more
// are deleted.
const sweepInterval = 10 * time.Minute

// sweepVersionsQuery deletes what was recorded for jobs older than every ingest
// job that may still be worked. A day's delay covers enqueuers whose
// transactions are still open. It deletes in bounded portions, in key order.
const sweepVersionsQuery = `
-- name: sweep_versions
DELETE FROM ingest_versions WHERE (user_id, activity_id) IN (
	SELECT user_id, activity_id FROM ingest_versions
	WHERE recorded_at < now() - interval '1 day'
	  AND job_id < coalesce((
		SELECT min(id) FROM {schema}.river_job
		WHERE kind = 'activity_ingest' AND state <> 'completed'), 9223372036854775807)
	ORDER BY user_id, activity_id
	LIMIT 10000
	FOR UPDATE SKIP LOCKED)`

// sweepVersions keeps ingest_versions small until ctx ends. Any number of
// processes may do so at once.
func (s *Service) sweepVersions(ctx context.Context) {
	query := inSchema(sweepVersionsQuery, s.config.River.Schema)
	for {
		select {
		case <-time.After(sweepInterval/2 + rand.N(sweepInterval)):
		case <-ctx.Done():
			return
		}
		if err := s.sweepOnce(ctx, query); err != nil && ctx.Err() == nil {
			s.logger.WarnContext(ctx, "recorded versions not swept, will try again", slog.String("error", err.Error()))
		}
	}
}

func (s *Service) sweepOnce(ctx context.Context, query string) error {
	ctx, cancel := context.WithTimeout(ctx, s.config.Database.StatementTimeout)
	defer cancel()
	_, err := s.pool.Exec(ctx, query)
	return err
}

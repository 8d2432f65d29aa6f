package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/cli"
	"github.com/trainingmonkey/worker/jobs"
)

// implausibleActivity is what implausible --json prints of each activity.
type implausibleActivity struct {
	ActivityID        *int64   `json:"activity_id"` // null: the row has none
	Date              string   `json:"date"`
	SportType         string   `json:"sport_type"`
	DistanceMiles     *float64 `json:"distance_miles"`
	ElevationGainFeet *float64 `json:"elevation_gain_feet"`
	DurationMinutes   *float64 `json:"duration_minutes"`
	TotalLoadMiles    *float64 `json:"total_load_miles"`
	Reasons           []string `json:"reasons"`
}

// implausibleQuery uses the same function as the marks of days; the reasons are
// determined afterwards, with the same limits.
const implausibleQuery = `
-- name: implausible_activities
SELECT activity_id, date, coalesce(sport_type, ''), distance_miles, elevation_gain_feet, duration_minutes, total_load_miles, today
FROM activities, (SELECT acwr_today($1) AS today) AS t
WHERE user_id = $1 AND isfinite(date) AND (date > today OR acwr_implausible(sport_type, distance_miles, elevation_gain_feet, duration_minutes, total_load_miles))
ORDER BY date DESC, activity_id DESC
LIMIT $2`

func implausibleCommand(p *program) *cobra.Command {
	var user int32
	var limit int
	c := &cobra.Command{
		Use:   "implausible --user N",
		Short: "List an athlete's implausible stored activities",
		Long: "List the activities of an athlete, as they are stored, that are faster, longer or higher than their sport allows, or\n" +
			"dated after today: those for which acwr marks a day as implausible or future. They count like all others; correct\n" +
			"them at their source and import them again.",
		Example: "  enqueue athlete implausible --user 7\n" +
			"  enqueue athlete implausible --user 7 --limit 1000 --json",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := errors.Join(checkUser(user), checkLimit(limit)); err != nil {
				return err
			}
			return readAndShow(c.Context(), p, "enqueue athlete", func(db *database) ([]implausibleActivity, error) {
				act := fmt.Sprintf("read the implausible activities of user %d", user)
				return dbpool.Collect(c.Context(), db.pool, act, scanImplausible, implausibleQuery, user, limit)
			}, func(found []implausibleActivity) {
				p.writeNewest("activities", "ID\tDATE\tSPORT\tIMPLAUSIBLE", cli.Rows(found, func(a implausibleActivity) string {
					return fmt.Sprintf("%s\t%s\t%s\t%s", orDash("%d", a.ActivityID), a.Date, cli.OneLine(a.SportType), strings.Join(a.Reasons, "; "))
				}), limit)
			})
		},
	}
	userFlag(c, &user)
	limitFlag(c, &limit)
	p.JSONFlag(c, "a JSON array")
	return c
}

func scanImplausible(row pgx.CollectableRow) (a implausibleActivity, err error) {
	var date, today time.Time
	if err := row.Scan(&a.ActivityID, &date, &a.SportType, &a.DistanceMiles, &a.ElevationGainFeet, &a.DurationMinutes, &a.TotalLoadMiles, &today); err != nil {
		return a, err
	}
	a.Date = date.Format(time.DateOnly)
	a.Reasons = implausible(jobs.Activity{
		Date: a.Date, SportType: &a.SportType, DistanceMiles: a.DistanceMiles, ElevationGainFeet: a.ElevationGainFeet,
		DurationMinutes: a.DurationMinutes, TotalLoadMiles: a.TotalLoadMiles,
	}, today.Format(time.DateOnly))
	return a, nil
}

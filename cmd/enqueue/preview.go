package main

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/internal/cli"
	"github.com/trainingmonkey/worker/jobs"
	"github.com/trainingmonkey/worker/workers"
)

// dryRun reads all input and prints what would be enqueued and, if there is a database,
// what that would change.
func (p *program) dryRun(ctx context.Context, source *activities) error {
	if _, err := cli.LoadConfig(p.ConfigFile); err != nil {
		return err
	}
	compared := false
	err := p.withDatabase(ctx, "enqueue ingest --dry-run", func(db *database) error {
		return pgx.BeginTxFunc(ctx, db.pool, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, `SET LOCAL idle_in_transaction_session_timeout = '`+readerTimeout+`'`); err != nil {
				return err
			}
			compared = true // from here on the input is read
			return db.compareWithStored(ctx, tx, source)
		})
	})
	if !compared {
		p.Warnf("what is stored was not compared: %v\n", err)
		err = source.inPortions(ctx, nil, func([]jobs.Activity) error { return nil })
	}
	if err != nil {
		return err
	}
	p.Printf("would enqueue %s\n", source.summary())
	source.implausible.write(p, "implausible, and taken as they are")
	source.doubles.write(p, "likely doubles, the same training as an earlier one of the day")
	return nil
}

func (db *database) compareWithStored(ctx context.Context, tx pgx.Tx, source *activities) error {
	if err := source.askApplication(ctx, tx); err != nil {
		return err
	}
	preview := preview{program: db.program}
	err := source.inPortions(ctx, tx, func(activities []jobs.Activity) error {
		changes, err := workers.PreviewIngest(ctx, tx, activities)
		preview.add(changes)
		return err
	})
	if err == nil {
		preview.summarize()
	}
	return err
}

// preview prints the changes one by one, up to maxReported, and counts them.
type preview struct {
	*program

	shown, added, changed, same, otherUsers, keptDays, keptTRIMPs int
}

func (p *preview) add(changes []workers.Change) {
	for _, c := range changes {
		switch {
		case c.OtherUser:
			p.otherUsers++
		case c.New:
			p.added++
		case c.Changes():
			p.changed++
			p.show(c)
		default:
			p.same++
		}
		if c.KeepsDay {
			p.keptDays++
		}
		if c.KeepsTRIMP {
			p.keptTRIMPs++
		}
	}
}

func (p *preview) show(c workers.Change) {
	if p.shown++; p.shown > maxReported {
		return
	}
	line := fmt.Sprintf("activity %d:", c.ActivityID)
	if c.Date != c.DateWas {
		line += fmt.Sprintf(" date %s → %s", c.DateWas, c.Date)
	}
	if c.Load != c.LoadWas {
		line += fmt.Sprintf(" load %v → %v", c.LoadWas, c.Load)
	}
	if c.TRIMP != c.TRIMPWas {
		line += fmt.Sprintf(" TRIMP %v → %v", c.TRIMPWas, c.TRIMP)
	}
	p.Printf("%s\n", line)
}

func (p *preview) summarize() {
	if p.shown > maxReported {
		p.Printf("and %s\n", cli.Counted(p.shown-maxReported, "more activity", "more activities"))
	}
	p.Printf("beside what is stored now: %d new, %d with another day or load, %d with the same; %s and %s that are better stay\n",
		p.added, p.changed, p.same, cli.Counted(p.keptDays, "day", "days"), cli.Counted(p.keptTRIMPs, "TRIMP", "TRIMPs"))
	if p.otherUsers > 0 {
		p.Printf("%s of other users would be rejected\n", cli.Counted(p.otherUsers, "activity", "activities"))
	}
}

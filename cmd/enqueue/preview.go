package main

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/internal/cli"
	"github.com/trainingmonkey/worker/jobs"
	"github.com/trainingmonkey/worker/workers"
)

// dryRun reads everything and prints what would be enqueued, and what that would change
// if there is a database.
func (p *program) dryRun(ctx context.Context, source *activities) error {
	if _, err := cli.LoadConfig(p.ConfigFile); err != nil {
		return err
	}
	compared := false
	err := p.withDatabase(ctx, "enqueue ingest --dry-run", func(db *database) error {
		tx, err := db.pool.BeginTx(ctx, pgx.TxOptions{AccessMode: pgx.ReadOnly})
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback(ctx) }()
		if _, err := tx.Exec(ctx, `SET LOCAL idle_in_transaction_session_timeout = '`+readerTimeout+`'`); err != nil {
			return err
		}
		compared = true // from here on the input is read
		return db.compareWithStored(ctx, tx, source)
	})
	if !compared {
		p.Warnf("what is stored was not compared: %v\n", err)
		if err = readAll(source, func(a jobs.Activity) error { return source.doubles.note(ctx, nil, a) }); err == nil {
			err = source.doubles.compare(ctx, nil)
		}
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
	var chunk []jobs.Activity
	compare := func() error {
		changes, err := workers.PreviewIngest(ctx, tx, chunk)
		preview.add(changes)
		chunk = chunk[:0]
		return err
	}
	err := readAll(source, func(a jobs.Activity) error {
		if err := source.doubles.note(ctx, tx, a); err != nil {
			return err
		}
		if chunk = append(chunk, a); len(chunk) < insertSize {
			return nil
		}
		return compare()
	})
	if err == nil {
		err = compare()
	}
	if err == nil {
		err = source.doubles.compare(ctx, tx)
	}
	if err == nil {
		preview.summarize()
	}
	return err
}

func readAll(source *activities, use func(jobs.Activity) error) error {
	for activity, err := range source.all() {
		if err != nil {
			return err
		}
		if err := use(activity); err != nil {
			return err
		}
	}
	return nil
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

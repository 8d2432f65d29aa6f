package migrations

import (
	"context"
	_ "embed"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// captureQuery can be run again: it replaces the triggers that an older worker installed.
//
//go:embed capture.sql
var captureQuery string

// dropCaptureQuery keeps the functions, because a transaction under way may
// still call them.
const dropCaptureQuery = `
DROP TRIGGER IF EXISTS acwr_capture_added ON {here}.activities;
DROP TRIGGER IF EXISTS acwr_capture_changed ON {here}.activities;
DROP TRIGGER IF EXISTS acwr_capture_removed ON {here}.activities;`

// CaptureStep describes what CaptureChanges does.
var CaptureStep = Step{
	Name: "change capture",
	Does: "create or replace triggers acwr_capture_added, acwr_capture_changed, acwr_capture_removed on activities",
}

// CaptureChanges installs statement-level triggers on activities, which enqueue the
// recalculation of results that other programs' statements make outdated. The database
// must be migrated. Other statements wait for it no longer than for a migration.
func CaptureChanges(ctx context.Context, pool *pgxpool.Pool, riverSchema string) error {
	return runCapture(ctx, pool, riverSchema, "capture changes", captureQuery)
}

// DropCapture removes the triggers. Jobs that they enqueued stay.
func DropCapture(ctx context.Context, pool *pgxpool.Pool, riverSchema string) error {
	return runCapture(ctx, pool, riverSchema, "stop capturing changes", dropCaptureQuery)
}

func runCapture(ctx context.Context, pool *pgxpool.Pool, riverSchema, what, query string) error {
	err := exclusively(ctx, pool, func(_ *pgxpool.Pool, conn *pgx.Conn) error { return runCaptureOn(ctx, conn, riverSchema, query) })
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

func runCaptureOn(ctx context.Context, conn *pgx.Conn, riverSchema, query string) error {
	return untilLocked(ctx, func() error {
		return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			var here string
			if err := tx.QueryRow(ctx, `SELECT current_schema()`).Scan(&here); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, inSchema(query, riverSchema, "{here}", pgx.Identifier{here}.Sanitize()))
			return err
		})
	})
}

// capturedQuery reports whether change capture is installed.
const capturedQuery = `
-- name: capture_installed
SELECT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = to_regclass('activities') AND tgname = 'acwr_capture_changed')`

// renewCapture replaces the triggers of an older version, if any, because results may
// depend on columns that those ignore.
func renewCapture(ctx context.Context, conn *pgx.Conn, riverSchema string) error {
	var captured bool
	if err := conn.QueryRow(ctx, capturedQuery).Scan(&captured); err != nil || !captured {
		return err
	}
	return runCaptureOn(ctx, conn, riverSchema, captureQuery)
}

package workers

import (
	"context"
	"io"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/trainingmonkey/worker/internal/lane"
)

// crashDB is a database whose connection breaks once, before or after the server
// executes statement number at.
type crashDB struct {
	lane.DB
	at    int
	after bool

	mu    sync.Mutex
	count int
}

// reached counts a statement and reports whether the connection breaks at it.
func (db *crashDB) reached() bool {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.count++
	return db.count == db.at
}

// broken reports whether the connection broke.
func (db *crashDB) broken() bool {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.count >= db.at
}

// step executes one statement over the connection of tx, or breaks the connection.
func step[T any](db *crashDB, tx pgx.Tx, execute func() (T, error)) (T, error) {
	if !db.reached() {
		return execute()
	}
	if !db.after {
		cut(tx)
		return execute()
	}
	v, err := execute()
	if err == nil {
		cut(tx)
		err = io.ErrUnexpectedEOF
	}
	return v, err
}

// cut ends the connection like a failing network: without a Terminate message.
func cut(tx pgx.Tx) { _ = tx.Conn().PgConn().Conn().Close() }

func (db *crashDB) BeginTx(ctx context.Context, o pgx.TxOptions) (pgx.Tx, error) {
	lost := db.reached()
	if lost && !db.after {
		return nil, io.ErrUnexpectedEOF
	}
	tx, err := db.DB.BeginTx(ctx, o)
	if err != nil {
		return nil, err
	}
	if lost {
		cut(tx)
		_ = tx.Rollback(ctx)
		return nil, io.ErrUnexpectedEOF
	}
	return &crashTx{tx, db}, nil
}

// crashTx is a transaction, or a savepoint, of a crashDB.
type crashTx struct {
	pgx.Tx
	db *crashDB
}

func (tx *crashTx) Begin(ctx context.Context) (pgx.Tx, error) {
	savepoint, err := step(tx.db, tx.Tx, func() (pgx.Tx, error) { return tx.Tx.Begin(ctx) })
	if err != nil {
		return nil, err
	}
	return &crashTx{savepoint, tx.db}, nil
}

func (tx *crashTx) Commit(ctx context.Context) error {
	if !tx.db.reached() {
		return tx.Tx.Commit(ctx)
	}
	if !tx.db.after {
		cut(tx.Tx)
		return tx.Tx.Commit(ctx)
	}
	conn := tx.Conn().PgConn().Conn() // a commit returns it to the pool
	err := tx.Tx.Commit(ctx)
	_ = conn.Close()
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return err
}

func (tx *crashTx) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	return step(tx.db, tx.Tx, func() (pgconn.CommandTag, error) { return tx.Tx.Exec(ctx, sql, args...) })
}

func (tx *crashTx) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	if !tx.db.reached() {
		return tx.Tx.Query(ctx, sql, args...)
	}
	if !tx.db.after {
		cut(tx.Tx)
		return tx.Tx.Query(ctx, sql, args...)
	}
	rows, err := tx.Tx.Query(ctx, sql, args...)
	return &crashRows{Rows: rows, tx: tx.Tx}, err
}

// crashRows lose their connection after the last row.
type crashRows struct {
	pgx.Rows
	tx  pgx.Tx
	err error
}

func (r *crashRows) Next() bool {
	if r.Rows.Next() {
		return true
	}
	if r.err = r.Rows.Err(); r.err == nil {
		cut(r.tx)
		r.err = io.ErrUnexpectedEOF
	}
	return false
}

func (r *crashRows) Err() error { return r.err }

func (tx *crashTx) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	return crashRow(func(targets ...any) error {
		_, err := step(tx.db, tx.Tx, func() (struct{}, error) { return struct{}{}, tx.Tx.QueryRow(ctx, sql, args...).Scan(targets...) })
		return err
	})
}

type crashRow func(targets ...any) error

func (r crashRow) Scan(targets ...any) error { return r(targets...) }

func (tx *crashTx) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	if !tx.db.reached() {
		return tx.Tx.SendBatch(ctx, b)
	}
	if !tx.db.after {
		cut(tx.Tx)
		return tx.Tx.SendBatch(ctx, b)
	}
	return &crashBatch{tx.Tx.SendBatch(ctx, b), tx.Tx}
}

// crashBatch loses its connection after the last answer.
type crashBatch struct {
	pgx.BatchResults
	tx pgx.Tx
}

func (b *crashBatch) Close() error {
	err := b.BatchResults.Close()
	if err == nil {
		cut(b.tx)
		err = io.ErrUnexpectedEOF
	}
	return err
}

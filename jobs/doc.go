// Package jobs declares the work this service can do, one args type per kind,
// and the functions that enqueue it.
//
// An args value is a wire contract: its JSON waits in the database and may be read by a
// worker deployed weeks later. Add fields; never rename one. Args contain no secrets.
//
// A Go application that enqueues work imports only this package.
package jobs

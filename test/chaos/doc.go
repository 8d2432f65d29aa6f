// Package chaos proves that the worker loses nothing, by breaking everything around it:
// with real worker processes, a real PostgreSQL, enqueuing throughout, and at the end an
// exact check of the whole history.
//
// Its tests need the build tag chaos:
//
//	go test -tags chaos ./test/chaos/...
//	go test -tags chaos ./test/chaos/... -long 1m    # each fault for a minute
package chaos

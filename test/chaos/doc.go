// Package chaos proves, by breaking everything around it, that the worker loses
// nothing: real worker processes, a real PostgreSQL, live enqueueing throughout,
// and at the end an exact check of the whole history.
//
// Its tests need the build tag chaos:
//
//	go test -tags chaos ./test/chaos/...
//	go test -tags chaos ./test/chaos/... -long 1m    # each fault for a minute
package chaos

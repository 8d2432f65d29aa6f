// Package adoption tests that the worker can be put on the database of a running
// application: nothing that is there changes, and nobody waits. It has no code
// of its own.
package adoption

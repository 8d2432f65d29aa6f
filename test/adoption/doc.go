// Package adoption tests that the worker can be deployed on the database of a running
// application: existing data do not change, and the application does not wait. It only
// has tests.
package adoption

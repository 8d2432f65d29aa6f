// Package endtoend tests the commands as they are deployed: built, run as processes
// against a real PostgreSQL, killed and terminated. It only has tests.
package endtoend

// Package pythonclient tests what docs/python.md tells a Flask application to
// do: its blocks of code run as they stand there, with psycopg2. It has no code
// of its own.
package pythonclient

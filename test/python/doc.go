// Package python tests clients/python and what docs/python.md promises a Flask
// application to do with it: its blocks of code run as they stand there, with
// psycopg 2 and, by another import, 3. It has no code of its own.
package python

// Package python tests clients/python and what docs/python.md promises a Flask
// application: its blocks of code run unchanged, with psycopg 2 and, with another
// import, psycopg 3. It only has tests.
package python

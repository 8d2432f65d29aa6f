package dbtest

import (
	"errors"
	"fmt"
	"net/url"

	"github.com/jackc/pgx/v5"
)

// withDatabase returns the URL with the name of its database replaced and everything
// else, such as query parameters, kept. DSNs of the form key=value are not supported:
// pgx reads but cannot print them.
//
// Errors omit the URL, which may have a password.
func withDatabase(raw, name string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil {
		var parseErr *url.Error
		if errors.As(err, &parseErr) {
			err = parseErr.Err
		}
		return "", fmt.Errorf("parse DATABASE_URL: %w", err)
	}
	if u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return "", errors.New("parse DATABASE_URL: tests need the form postgres://user:password@host:port/database, " +
			"or postgres:///database?host=/socket/directory")
	}
	u.Path, u.RawPath = "/"+name, ""
	// These would override the path.
	if q := u.Query(); q.Has("dbname") || q.Has("database") {
		q.Del("dbname")
		q.Del("database")
		u.RawQuery = q.Encode()
	}
	u.OmitHost = false
	changed := u.String()
	if got, err := databaseName(changed); err != nil || got != name {
		return "", fmt.Errorf("parse DATABASE_URL: database is %q after changing it to %q: %w", got, name, err)
	}
	return changed, nil
}

// databaseName returns the database to which pgx would connect.
func databaseName(url string) (string, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return "", err
	}
	return config.Database, nil
}

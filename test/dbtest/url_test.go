package dbtest

import (
	"strings"
	"testing"
)

func TestWithDatabase(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"postgres://u:p@h:5433/db":                                 "postgres://u:p@h:5433/new",
		"postgresql://h/db?sslmode=disable&application_name=a%20b": "postgresql://h/new?sslmode=disable&application_name=a%20b",
		"postgres://h":                            "postgres://h/new",
		"postgres://u:p%2F%40@h/a%2Fb":            "postgres://u:p%2F%40@h/new",
		"postgres:///db?host=/var/run/postgresql": "postgres:///new?host=/var/run/postgresql",
		"postgres:///?host=/run&dbname=db":        "postgres:///new?host=%2Frun",
		"postgres://[::1]:5432/db":                "postgres://[::1]:5432/new",
	} {
		if got, err := withDatabase(in, "new"); err != nil || got != want {
			t.Errorf("withDatabase(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
	for in, want := range map[string]string{
		"host=h password=secret dbname=db": "need the form postgres://",
		"mysql://u:secret@h/db":            "need the form postgres://",
		"postgres://u:secret@h:port/db":    "invalid port",
	} {
		_, err := withDatabase(in, "new")
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("withDatabase(%q) = %v, want %q and no secret", in, err, want)
		}
	}
}

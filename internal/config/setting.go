package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// setting is one key and the function that parses its text. Errors of set name the
// accepted values.
type setting struct {
	key      string // section.name, as in the file
	standard string // the default
	set      func(text string) error
}

// variable returns the environment variable that overrides the key:
// TMWORKER_BATCHING_MAX_JOBS for batching.max_jobs.
func (s setting) variable() string {
	return "TMWORKER_" + strings.ToUpper(strings.ReplaceAll(s.key, ".", "_"))
}

func count(target *int, smallest, largest int) func(string) error {
	return func(text string) error {
		n, err := strconv.Atoi(text)
		if err != nil || n < smallest || n > largest {
			return fmt.Errorf("must be a whole number from %d to %d, got %q", smallest, largest, text)
		}
		*target = n
		return nil
	}
}

func duration(target *time.Duration, minimum, maximum time.Duration) func(string) error {
	return func(text string) error {
		d, err := time.ParseDuration(text)
		if err != nil || d < minimum || d > maximum {
			return fmt.Errorf("must be a duration from %v to %v such as 250ms, 5s or 1h, got %q", minimum, maximum, text)
		}
		*target = d
		return nil
	}
}

// zeroOr also accepts zero, which is outside the limits of the duration.
func zeroOr(target *time.Duration, set func(string) error) func(string) error {
	return func(text string) error {
		if d, err := time.ParseDuration(text); err == nil && d == 0 {
			*target = 0
			return nil
		}
		if err := set(text); err != nil {
			return fmt.Errorf("must be 0s, or %s", strings.TrimPrefix(err.Error(), "must be "))
		}
		return nil
	}
}

func boolean(target *bool) func(string) error {
	return func(text string) error {
		if text != "true" && text != "false" {
			return fmt.Errorf("must be true or false, got %q", text)
		}
		*target = text == "true"
		return nil
	}
}

func address(target *string) func(string) error {
	return func(text string) error {
		if text != "" {
			_, port, err := net.SplitHostPort(text)
			if n, portErr := strconv.ParseUint(port, 10, 16); err != nil || portErr != nil || strconv.FormatUint(n, 10) != port {
				return fmt.Errorf("must be host:port such as 127.0.0.1:8080, or empty, got %q", text)
			}
		}
		*target = text
		return nil
	}
}

func choice(target *string, choices ...string) func(string) error {
	return func(text string) error {
		if !slices.Contains(choices, text) {
			return fmt.Errorf("must be one of %s, got %q", strings.Join(choices, ", "), text)
		}
		*target = text
		return nil
	}
}

// webAddress accepts addresses without secrets that are encrypted or on this machine.
func webAddress(target *string) func(string) error {
	return func(text string) error {
		u, err := url.Parse(text)
		local := err == nil && (u.Hostname() == "localhost" || net.ParseIP(u.Hostname()).IsLoopback())
		if err != nil || u.Host == "" || u.User != nil || (u.Scheme != "https" && (u.Scheme != "http" || !local)) {
			return errors.New("must be an https URL without user and password, such as https://www.example.com/oauth/token")
		}
		*target = text
		return nil
	}
}

// matching accepts texts that match a pattern; what describes them.
func matching(target *string, pattern *regexp.Regexp, what string) func(string) error {
	return func(text string) error {
		if !pattern.MatchString(text) {
			return fmt.Errorf("must be %s, got %q", what, text)
		}
		*target = text
		return nil
	}
}

var linePattern = regexp.MustCompile(`^[!-~]{0,200}$`)

// line accepts printable ASCII without blanks, or an empty text.
func line(target *string) func(string) error {
	return matching(target, linePattern, "at most 200 printable ASCII characters without blanks")
}

// schemaPattern is what River accepts unquoted.
var schemaPattern = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,45}$`)

func schemaName(target *string) func(string) error {
	return matching(target, schemaPattern, "a schema name of lower-case letters, digits and underscores, at most 46 long")
}

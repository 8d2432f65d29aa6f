package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/trainingmonkey/worker/internal/tokens"
)

// defaultFile is read when no file is named. It may be missing.
const defaultFile = "config.yaml"

// Load returns the defaults, overlaid by the file and then by environ, which is
// os.Environ() in a real process. An empty file means defaultFile, if it
// exists. The error joins every fault.
func Load(file string, environ []string) (Config, error) {
	c := Default()
	content, err := readFile(&file)
	if err != nil {
		return c, err
	}
	faults := c.decode(file, content)
	faults = append(faults, c.override(environ)...)
	if len(faults) == 0 {
		if err := c.validate(); err != nil {
			faults = append(faults, fmt.Errorf("configuration: %w", err))
		}
	}
	return c, errors.Join(faults...)
}

func readFile(file *string) ([]byte, error) {
	optional := *file == ""
	if optional {
		*file = defaultFile
	}
	content, err := os.ReadFile(*file)
	if errors.Is(err, os.ErrNotExist) && optional {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return content, nil
}

// decode applies the file to c. A valid file has only sections of known keys with
// plain values.
func (c *Config) decode(file string, content []byte) []error {
	var document yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	if err := decoder.Decode(&document); err != nil {
		if errors.Is(err, io.EOF) {
			return nil // empty, or comments only
		}
		return []error{fmt.Errorf("%s: %s", file, strings.TrimPrefix(err.Error(), "yaml: "))}
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return []error{fmt.Errorf("%s: must hold one YAML document", file)}
	}
	d := fileDecoder{file: file, settings: c.settings(), seen: map[string]int{}}
	d.section("", document.Content[0])
	return d.faults
}

type fileDecoder struct {
	file     string
	settings []setting
	seen     map[string]int // key → line
	faults   []error
}

func (d *fileDecoder) fault(line int, key, format string, args ...any) {
	d.faults = append(d.faults, fmt.Errorf("%s:%d: %s: %s", d.file, line, key, fmt.Sprintf(format, args...)))
}

func (d *fileDecoder) section(prefix string, node *yaml.Node) {
	if node.Kind == yaml.ScalarNode && node.Tag == "!!null" {
		return // a section whose keys are all commented out
	}
	if node.Kind != yaml.MappingNode {
		d.fault(node.Line, strings.TrimSuffix(prefix, "."), "must be a section of keys")
		return
	}
	for i := 0; i < len(node.Content); i += 2 {
		name, value := node.Content[i], node.Content[i+1]
		key := prefix + name.Value
		if first, again := d.seen[key]; again {
			d.fault(name.Line, key, "is set already in line %d", first)
			continue
		}
		d.seen[key] = name.Line
		d.value(key, name.Line, value)
	}
}

func (d *fileDecoder) value(key string, line int, value *yaml.Node) {
	isSection := slices.ContainsFunc(d.settings, func(s setting) bool { return strings.HasPrefix(s.key, key+".") })
	at := slices.IndexFunc(d.settings, func(s setting) bool { return s.key == key })
	switch {
	case isSection:
		d.section(key+".", value)
	case gone[key] != "":
		d.fault(line, key, "this setting is gone, remove it; what holds now: %s", gone[key])
	case at < 0:
		d.fault(line, key, "unknown key%s", d.hint(key))
	case value.Kind != yaml.ScalarNode:
		d.fault(value.Line, key, "must be a plain value")
	default:
		if err := d.settings[at].set(value.Value); err != nil {
			d.fault(value.Line, key, "%s", err)
		}
	}
}

// hint lists the known keys of a key's section.
func (d *fileDecoder) hint(key string) string {
	section := ""
	if dot := strings.LastIndexByte(key, '.'); dot >= 0 {
		section = key[:dot+1]
	}
	var known []string
	for _, s := range d.settings {
		if rest, ok := strings.CutPrefix(s.key, section); ok {
			name, _, _ := strings.Cut(rest, ".")
			if !slices.Contains(known, name) {
				known = append(known, name)
			}
		}
	}
	return "; known here: " + strings.Join(known, ", ")
}

// Variables of secrets, which have no key in the file.
const (
	databaseURLVariable  = "DATABASE_URL"
	tokenKeysVariable    = "TMWORKER_TOKEN_KEYS"
	clientSecretVariable = "TMWORKER_TOKENS_CLIENT_SECRET"
)

// secret sets a secret, and reports whether the variable is one. The error does not
// quote it.
func (c *Config) secret(name, value string) (is bool, err error) {
	switch name {
	case databaseURLVariable:
		c.DatabaseURL = value
	case clientSecretVariable:
		c.TokensClientSecret = value
	case tokenKeysVariable:
		if c.TokenKeys = nil; value != "" {
			c.TokenKeys, err = tokens.ParseKeyring(value)
		}
	case "TMWORKER_OPERATIONS_USER":
		c.Operations.User = value
	case "TMWORKER_OPERATIONS_PASSWORD":
		c.Operations.Password = value
	default:
		return false, nil
	}
	return true, err
}

// override applies the secrets and the TMWORKER_ variables. An unknown TMWORKER_
// variable is an error, for it is most likely a typing error.
func (c *Config) override(environ []string) []error {
	var faults []error
	settings := c.settings()
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		secret, err := c.secret(name, value)
		if !secret && strings.HasPrefix(name, "TMWORKER_") {
			err = setVariable(settings, name, value)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("environment: %s: %w", name, err))
		}
	}
	return faults
}

func setVariable(settings []setting, name, value string) error {
	for key, now := range gone {
		if (setting{key: key}).variable() == name {
			return fmt.Errorf("this setting is gone, remove it; what holds now: %s", now)
		}
	}
	at := slices.IndexFunc(settings, func(s setting) bool { return s.variable() == name })
	if at < 0 {
		return errors.New("unknown setting; variables are named like the keys, as TMWORKER_BATCHING_MAX_JOBS")
	}
	return settings[at].set(value)
}

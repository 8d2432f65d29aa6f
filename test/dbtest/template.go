package dbtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// errUnprepared is the error of other tests if prepare ended by a panic or t.FailNow
// instead of returning.
var errUnprepared = errors.New("prepare did not return")

// template is a database to copy. Its zero value is not created yet.
type template struct {
	once sync.Once
	url  string // set once the database exists
	name string // set once it can be copied
	err  error
}

// clone returns the URL of a copy of the key's template.
func (h *host) clone(ctx context.Context, key string, prepare func(ctx context.Context, url string) error) (string, error) {
	h.mu.Lock()
	tpl, ok := h.templates[key]
	if !ok {
		tpl = new(template)
		h.templates[key] = tpl
	}
	h.mu.Unlock()

	tpl.once.Do(func() {
		tpl.err = errUnprepared
		tpl.err = h.makeTemplate(ctx, tpl, prepare)
	})
	if tpl.err != nil {
		return "", fmt.Errorf("prepare template database %q: %w", key, tpl.err)
	}
	return h.create(ctx, tpl.name)
}

func (h *host) makeTemplate(ctx context.Context, tpl *template, prepare func(ctx context.Context, url string) error) error {
	url, err := h.create(ctx, emptyTemplate)
	if err != nil {
		return err
	}
	tpl.url = url
	if err := prepare(ctx, url); err != nil {
		return err
	}
	name, err := databaseName(url)
	if err != nil {
		return err
	}
	// A template can only be copied while nobody is connected. Connections that prepare
	// left open are ended.
	if err := h.exec(ctx, "ALTER DATABASE "+quote(name)+" ALLOW_CONNECTIONS false"); err != nil {
		return err
	}
	if err := h.exec(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '"+name+"'"); err != nil {
		return err
	}
	tpl.name = name
	return nil
}

func (h *host) dropTemplates(ctx context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var errs []error
	for _, tpl := range h.templates {
		if tpl.url != "" {
			errs = append(errs, h.drop(ctx, tpl.url))
		}
	}
	return errors.Join(errs...)
}

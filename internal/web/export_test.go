package web

import "net/http"

// Handler is everything that a server serves.
func Handler(o Options) (http.Handler, error) {
	handler, _, err := newHandler(o)
	return handler, err
}

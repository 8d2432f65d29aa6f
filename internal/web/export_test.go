package web

import "net/http"

// Handler returns the handler of all endpoints.
func Handler(o Options) (http.Handler, error) {
	handler, _, err := newHandler(o)
	return handler, err
}

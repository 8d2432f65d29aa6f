package dbpool

import "testing"

// TestSeveralServers: if an address names several servers, the writable one is required.
func TestSeveralServers(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]bool{
		"postgres://u@one/d":                                 false,
		"postgres://u@one:1,one:2/d":                         true,
		"postgres://u@one,two/d?sslmode=disable":             true,
		"postgres://u@one/d?target_session_attrs=read-write": true,
	} {
		config, _, err := Options{URL: url, MaxConns: 1}.poolConfig()
		if err != nil {
			t.Fatal(err)
		}
		if got := config.ConnConfig.ValidateConnect != nil; got != want {
			t.Errorf("%s: writable wanted = %t, want %t", url, got, want)
		}
	}
}

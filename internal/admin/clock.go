package admin

import "time"

// MaxClockDifference between a machine and the server is what goes unnoticed.
const MaxClockDifference = 2 * time.Second

// ClockDifference is how far the server's clock is from this machine's at the
// moment nearest to it, between asking and the answer; 0 when it may be none.
func ClockDifference(server, asked, answered time.Time) time.Duration {
	switch {
	case server.Before(asked):
		return asked.Sub(server)
	case server.After(answered):
		return server.Sub(answered)
	}
	return 0
}

package admin

import "time"

// MaxClockDifference is the tolerated difference between a machine's clock and the
// server's.
const MaxClockDifference = 2 * time.Second

// ClockDifference returns the min difference between the server's clock and this
// machine's, given the time of the round trip; 0 if they may agree.
func ClockDifference(server, asked, answered time.Time) time.Duration {
	switch {
	case server.Before(asked):
		return asked.Sub(server)
	case server.After(answered):
		return server.Sub(answered)
	}
	return 0
}

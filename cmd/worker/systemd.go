package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// readyInterval is how often a worker that starts looks whether it is ready.
const readyInterval = 100 * time.Millisecond

// tellSystemd tells the service manager, where there is one that wants to know,
// when the worker is ready, when it begins to stop because ctx ends, and until
// done ends, as often as WatchdogSec demands, that it lives.
func tellSystemd(ctx, done context.Context, ready func() bool, logger *slog.Logger) {
	tell := func(state string) {
		if _, err := daemon.SdNotify(false, state); err != nil {
			logger.WarnContext(ctx, "systemd was not told", slog.String("state", state), slog.String("error", err.Error()))
		}
	}
	alive, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		logger.WarnContext(ctx, "no watchdog", slog.String("error", err.Error()))
	}
	stopping := context.AfterFunc(ctx, func() { tell(daemon.SdNotifyStopping) })
	defer stopping()
	ticker := time.NewTicker(readyInterval)
	defer ticker.Stop()
	told, beaten := false, time.Now()
	for {
		if !told && ready() {
			told = true
			tell(daemon.SdNotifyReady)
		}
		if alive > 0 && time.Since(beaten) >= alive/3 {
			beaten = time.Now()
			tell(daemon.SdNotifyWatchdog)
		}
		select {
		case <-ticker.C:
		case <-done.Done():
			return
		}
	}
}

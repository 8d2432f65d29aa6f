package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// readyInterval is how often a starting worker checks whether it is ready.
const readyInterval = 100 * time.Millisecond

// notifySystemd notifies the service manager, if there is one, when the worker is
// ready and when it begins to stop because ctx ends. Until done ends it also sends
// the keep-alives for WatchdogSec.
func notifySystemd(ctx, done context.Context, ready func() bool, logger *slog.Logger) {
	notify := func(state string) {
		if _, err := daemon.SdNotify(false, state); err != nil {
			logger.WarnContext(ctx, "could not notify systemd; it may restart this worker", slog.String("state", state), slog.String("error", err.Error()))
		}
	}
	alive, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		logger.WarnContext(ctx, "could not read systemd's watchdog interval; sending no keep-alives", slog.String("error", err.Error()))
	}
	stopping := context.AfterFunc(ctx, func() { notify(daemon.SdNotifyStopping) })
	defer stopping()
	ticker := time.NewTicker(readyInterval)
	defer ticker.Stop()
	notified, beaten := false, time.Now()
	for {
		if !notified && ready() {
			notified = true
			notify(daemon.SdNotifyReady)
		}
		if alive > 0 && time.Since(beaten) >= alive/3 {
			beaten = time.Now()
			notify(daemon.SdNotifyWatchdog)
		}
		select {
		case <-ticker.C:
		case <-done.Done():
			return
		}
	}
}

package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// peakMemory returns the peak memory of a living process, in bytes. The kernel's value
// for a process that has ended includes the memory of the process that started it.
func peakMemory(pid int) int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if peak, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kilobytes, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(peak), " kB"), 10, 64)
			if err == nil {
				return kilobytes * 1024
			}
		}
	}
	return 0
}

// maxRSS is in kilobytes on Linux.
func maxRSS(u *syscall.Rusage) int64 { return u.Maxrss * 1024 }

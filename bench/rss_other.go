//go:build !linux && !windows

package main

import "syscall"

// peakMemory is unknown while a process lives.
func peakMemory(int) int64 { return 0 }

// maxRSS is in bytes on macOS.
func maxRSS(u *syscall.Rusage) int64 { return u.Maxrss }

//go:build !linux && !windows

package main

import "syscall"

// maxRSS is in bytes on macOS.
func maxRSS(u *syscall.Rusage) int64 { return u.Maxrss }

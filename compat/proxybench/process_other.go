//go:build !linux

package main

import (
	"errors"
	"time"
)

var errNotLinux = errors.New("the CPU time and memory of another process are read only on Linux")

func cpuTime(int) (time.Duration, error) { return 0, errNotLinux }
func peakMemory(int) (int64, error)      { return 0, errNotLinux }

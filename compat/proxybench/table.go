package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// write writes the tables, and how much memory the processes took.
func (r results) write(w io.Writer, o options) {
	fmt.Fprintf(w, "| request | connections | %s |\n", strings.Join(r.proxies, " | "))
	fmt.Fprintf(w, "|---|---|%s\n", strings.Repeat("---|", len(r.proxies)))
	for _, kind := range o.kinds {
		for _, connections := range o.numbers {
			fmt.Fprintf(w, "| %s | %d |", kind, connections)
			plain := r.times[cell{kind, connections, "plain", false}]
			for _, proxy := range r.proxies {
				times := r.times[cell{kind, connections, proxy, false}]
				fmt.Fprintf(w, " %s", median(times))
				if proxy != "plain" {
					fmt.Fprintf(w, ", %s", ratio(times, plain))
				}
				fmt.Fprint(w, " |")
			}
			fmt.Fprintln(w)
		}
	}
	if len(r.gateways) > 0 {
		r.writeBefore(w, o)
	}
	fmt.Fprintf(w, "\nPeak memory: %s. Spans that were dropped: %s.\n", strings.Join(r.memory, ", "), r.dropped)
}

// writeBefore writes the table that compares the gateway with that of -before.
func (r results) writeBefore(w io.Writer, o options) {
	fmt.Fprint(w, "\n| request | connections | caller | before | after | after / before |\n|---|---|---|---|---|---|\n")
	for _, kind := range o.kinds {
		for _, connections := range o.numbers {
			for _, gateway := range r.gateways {
				before := r.times[cell{kind, connections, gateway, true}]
				after := r.times[cell{kind, connections, gateway, false}]
				fmt.Fprintf(w, "| %s | %d | %s | %s | %s | %s |\n", kind, connections, gateway, median(before), median(after), ratio(after, before))
			}
		}
	}
}

func median(times []time.Duration) string {
	return fmt.Sprintf("%.1f µs", micros(quantile(times, 0.5)))
}

// ratio returns the median and the quartiles of the ratios in the same round.
func ratio[T ~int64 | ~float64](times, to []T) string {
	ratios := make([]float64, len(times))
	for i := range times {
		ratios[i] = float64(times[i]) / float64(to[i])
	}
	return fmt.Sprintf("%.2f (%.2f to %.2f)", quantile(ratios, 0.5), quantile(ratios, 0.25), quantile(ratios, 0.75))
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// quantile returns the value at a share, 0 to 1, of the sorted values.
func quantile[T cmp.Ordered](values []T, share float64) T {
	return slices.Sorted(slices.Values(values))[int(share*float64(len(values)-1))]
}

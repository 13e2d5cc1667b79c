package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// several says which clusters a command that takes several acts on.
type several struct{ all bool }

func (o *several) define(c *cobra.Command) {
	c.Flags().BoolVar(&o.all, "all-clusters", false, "for all clusters of the group, instead of those of --cluster")
}

// withClusters returns the RunE of a command that calls Atlas for one cluster or several.
func (a *app) withClusters(o *several, run func(c *cobra.Command, s *session, clusters []string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, _ []string) error {
		needs := []string{"group", "cluster"}
		if o.all {
			if c.Flags().Changed("cluster") {
				return usageError(c, "--all-clusters and --cluster exclude each other")
			}
			needs = needs[:1]
		}
		return a.inSession(c, needs, func(s *session) error {
			clusters, err := s.clusters(c, o.all)
			if err != nil {
				return err
			}
			s.cluster = clusters[0]
			return run(c, s, clusters)
		})
	}
}

// clusters returns the names of the clusters to act on, each once; at least one.
func (s *session) clusters(c *cobra.Command, all bool) (list []string, err error) {
	if !all {
		for name := range strings.SplitSeq(s.cluster, ",") {
			if name = strings.TrimSpace(name); name == "" {
				return nil, usageError(c, "the name of a cluster is empty in %q", s.cluster)
			}
			if !slices.Contains(list, name) {
				list = append(list, name)
			}
		}
		return list, nil
	}
	if s.dry != nil {
		return nil, usageError(c, "a dry run sends nothing, and can't look up the clusters: name them with --cluster")
	}
	for cluster, err := range atMost(maxListed, s.ListClusters(c.Context(), s.group, largestPages)) {
		switch {
		case errors.Is(err, errCut):
			return nil, &failure{exitUsage, fmt.Errorf("the group has more than %d clusters", maxListed), "name those that are meant with --cluster"}
		case err != nil:
			return nil, err
		}
		list = append(list, cluster.Name)
	}
	if len(list) == 0 {
		return nil, &failure{exitNotFound, errors.New("the group has no clusters"), ""}
	}
	return list, nil
}

// verdict returns the error of a command that acted on several clusters, each with an error or
// nil. It names those that failed, each with a hint if the hints differ. The exit status is
// theirs if all failed with the same.
func (a *app) verdict(c *cobra.Command, clusters []string, errs []error) error {
	var failed, hints []string
	statuses := map[int]bool{}
	status, same := exitOK, true // of the hints
	for i, err := range errs {
		if err == nil {
			statuses[exitOK] = true
			continue
		}
		var hint string
		status, hint = a.classify(c.Context(), c, err)
		statuses[status] = true
		failed = append(failed, clusters[i]+": "+err.Error())
		hints = append(hints, hint)
		same = same && hint == hints[0]
	}
	switch {
	case len(failed) == 0:
		return nil
	case len(clusters) == 1:
		return errs[0]
	case c.Context().Err() != nil && !statuses[exitUnknown]:
		status = exitInterrupted
	case len(statuses) > 1:
		status = exitPartial
	}
	err := fmt.Errorf("%d of %d clusters failed", len(failed), len(clusters))
	if same {
		return &failure{status, &listed{err, failed}, hints[0]}
	}
	var lines []string
	for i, text := range failed {
		if lines = append(lines, text); hints[i] != "" {
			lines = append(lines, "  hint: "+hints[i])
		}
	}
	return &failure{status, &listed{err, lines}, ""}
}

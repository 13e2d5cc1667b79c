package main

import (
	"context"
	"io"
	"iter"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"atlas-export-gateway/client"
	"atlas-export-gateway/internal/printable"
)

// completionTime bounds how long a completion takes: someone is waiting at the keyboard.
const completionTime = 3 * time.Second

// completable matches what is completed: ids and names of clusters. Shells print words, some of
// them as they are.
var completable = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,63}$`)

// complete completes a flag or an argument by the words that list returns, each with a
// description. Needs are the settings that list needs. It does not ask for a secret.
func (a *app) complete(list func(context.Context, *session) ([]string, error), needs ...string) cobra.CompletionFunc {
	return func(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(c.Context(), completionTime)
		defer cancel()
		quiet := *a
		quiet.stdin, quiet.stderr = strings.NewReader(""), io.Discard
		c.SetContext(ctx)
		s, err := quiet.connect(c, needs...)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		defer s.client.CloseIdleConnections()
		if err := s.findGroup(ctx); err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		words, err := list(ctx, s)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		safe := words[:0]
		for _, word := range words {
			if name, description, _ := strings.Cut(word, "\t"); completable.MatchString(name) {
				safe = append(safe, name+"\t"+printable.Escape(description))
			}
		}
		return safe, cobra.ShellCompDirectiveNoFileComp
	}
}

// first completes the first argument, and no other.
func first(complete cobra.CompletionFunc) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return complete(c, args, word)
	}
}

// words returns the words for a completion, from the items of a list.
func words[T any](items iter.Seq2[*T, error], word func(*T) string) (list []string, err error) {
	for item, err := range items {
		if err != nil {
			return nil, err
		}
		if len(list) == maxCompletions {
			break
		}
		list = append(list, word(item))
	}
	return list, nil
}

func (a *app) completeBuckets() cobra.CompletionFunc {
	return a.complete(func(ctx context.Context, s *session) ([]string, error) {
		return words(s.ListExportBuckets(ctx, s.group, largestPages), func(b *client.ExportBucket) string { return b.ID + "\t" + bucketName(b) })
	}, "group")
}

func (a *app) completeExports() cobra.CompletionFunc {
	return a.complete(func(ctx context.Context, s *session) ([]string, error) {
		return words(s.ListExports(ctx, s.group, s.cluster, largestPages), func(job *client.ExportJob) string {
			return job.ID + "\t" + string(job.State) + " " + formatTime(job.CreatedAt)
		})
	}, "group", "cluster")
}

// completeSnapshots completes snapshots, in Atlas's order, which is newest first. With the word
// latest it completes those that can be exported.
func (a *app) completeSnapshots(withLatest bool) cobra.CompletionFunc {
	complete := a.complete(func(ctx context.Context, s *session) ([]string, error) {
		list, err := words(s.snapshots(ctx), func(s *client.Snapshot) string {
			if withLatest && !s.Exportable() {
				return ""
			}
			return s.ID + "\t" + strings.TrimSpace(string(s.Status)+" "+snapshotType(s)+" "+formatTime(s.CreatedAt))
		})
		if withLatest {
			list = append([]string{latest + "\tthe newest that is completed"}, list...)
		}
		return list, err
	}, "group", "cluster")
	return func(c *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		list, directive := complete(c, args, word)
		return list, directive | cobra.ShellCompDirectiveKeepOrder
	}
}

// completeRoles completes the roles of a cloud provider.
func (a *app) completeRoles(provider client.CloudProvider) cobra.CompletionFunc {
	return a.complete(func(ctx context.Context, s *session) ([]string, error) {
		return words(s.ListRoles(ctx, s.group), func(r *client.Role) string {
			if r.ProviderName != provider {
				return ""
			}
			return r.ID() + "\t" + strings.TrimSpace(principal(r)+" "+roleStatus(r))
		})
	}, "group")
}

// completeGroups completes the ids of groups.
func (a *app) completeGroups(c *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	return a.complete(func(ctx context.Context, s *session) ([]string, error) {
		return words(s.ListGroups(ctx, largestPages), func(g *client.Group) string { return g.ID + "\t" + g.Name })
	})(c, args, word)
}

func (a *app) completeClusters() cobra.CompletionFunc {
	return a.complete(func(ctx context.Context, s *session) ([]string, error) {
		return words(s.ListClusters(ctx, s.group, largestPages), func(c *client.Cluster) string {
			return c.Name + "\t" + strings.TrimSpace(c.ClusterType+" "+c.StateName)
		})
	}, "group")
}

// completeProfiles completes an argument by the names of the profiles.
func (a *app) completeProfiles(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	file, err := a.configFile()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	all, _, document, err := readProfiles(file)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	names := slices.Sorted(maps.Keys(all.Profiles))
	if atlas, err := a.readAtlasProfiles(); document == nil && err == nil && atlas != nil {
		for _, name := range atlas.names() {
			if profileName.MatchString(name) { // shells print it
				names = append(names, name)
			}
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

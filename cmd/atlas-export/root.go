package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"atlas-export-gateway/internal/build"
	"atlas-export-gateway/internal/nearest"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// app is one run of the program.
type app struct {
	args   []string
	env    []string
	stdin  io.Reader
	stdout *output
	stderr io.Writer
	now    func() time.Time

	settings *resolved // of the command that calls Atlas; nil if there is none
}

// run runs the command that args name, and returns the exit status.
func (a *app) run(ctx context.Context, args []string) int {
	a.args = append([]string{}, args...) // nil would mean those of the process
	root := a.root()
	root.SetArgs(a.args)
	command, err := root.ExecuteContextC(ctx)
	if unwritten := a.stdout.err; unwritten != nil && (err == nil || errors.Is(err, unwritten)) {
		err = fmt.Errorf("the command did what it was asked to do, but could not write all of its output: %w", unwritten)
	}
	if err == nil {
		return exitOK
	}
	return a.report(ctx, command, err)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "atlas-export",
		Short: "Export MongoDB Atlas backup snapshots, at Atlas or through the gateway",
		Example: `  atlas-export exports create --cluster orders --snapshot latest --bucket acme-exports --wait
  atlas-export exports list --cluster orders
  atlas-export buckets list -o json`,
		Version:       build.Version(),
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetVersionTemplate("atlas-export {{.Version}}\n")
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.PersistentFlags().StringP("profile", "P", "", "`name` of the profile for settings that flags and environment don't have (default: the current one)")
	for _, s := range settings {
		if s.key != "cluster" {
			s.define(root.PersistentFlags())
		}
	}
	root.AddCommand(a.exportsCommand(), a.snapshotsCommand(), a.clustersCommand(), a.bucketsCommand(), a.rolesCommand(), a.scheduleCommand(), a.groupsCommand(), a.configCommand(), a.versionCommand(),
		&cobra.Command{Use: "exit-status", Short: "The exit statuses", Long: exitStatusHelp},
		&cobra.Command{Use: "settings", Short: "Settings, and where they come from", Long: settingsHelp()})
	root.SetHelpCommand(helpCommand(root))
	root.InitDefaultCompletionCmd()
	completion, _, err := root.Find([]string{"completion"})
	must(err)
	group(completion)
	for _, shell := range completion.Commands() {
		shell.Args = arguments()
	}
	root.SetGlobalNormalizationFunc(flagName)
	root.SetFlagErrorFunc(a.flagError)
	group(root)
	must(root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp)))
	must(root.RegisterFlagCompletionFunc("profile", a.completeProfiles))
	must(root.RegisterFlagCompletionFunc("keeps-keys", cobra.FixedCompletions(keptKeys, cobra.ShellCompDirectiveNoFileComp)))
	must(root.RegisterFlagCompletionFunc("api", cobra.FixedCompletions(generations, cobra.ShellCompDirectiveNoFileComp)))
	must(root.RegisterFlagCompletionFunc("group", a.completeGroups))
	return root
}

// group makes a command that only holds other commands an error when it is called itself.
// Cobra would print the help and report success, also for a misspelt command.
func group(c *cobra.Command) *cobra.Command {
	c.Args = cobra.ArbitraryArgs
	c.DisableFlagsInUseLine = true
	c.RunE = func(c *cobra.Command, args []string) error {
		var names []string
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() {
				names = append(names, sub.Name())
			}
		}
		if len(args) == 0 {
			return usageError(c, "no command; there are %s", strings.Join(names, ", "))
		}
		return usageError(c, "unknown command %q%s", args[0], cmp.Or(nearest.Hint(args[0], names), "; there are "+strings.Join(names, ", ")))
	}
	return c
}

// helpCommand is Cobra's, except that an unknown topic is an error.
func helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Show how a command is used, or a topic",
		RunE: func(c *cobra.Command, args []string) error {
			found, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return usageError(c, "there is no help on %q", strings.Join(args, " "))
			}
			found.InitDefaultHelpFlag()
			return found.Help()
		},
		ValidArgsFunction: func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			found, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			var names []string
			for _, sub := range found.Commands() {
				names = append(names, sub.Name()+"\t"+sub.Short)
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
	}
}

// arguments checks how many arguments a command has. The names are for the error.
func arguments(names ...string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return usageError(c, "%s is missing", names[len(args)])
		case len(args) > len(names):
			return usageError(c, "unexpected argument %q", args[len(names)])
		}
		return nil
	}
}

// flagNames are the names that the Atlas CLI has for flags of other names here.
var flagNames = map[string]string{
	"project":     "group",
	"projectId":   "group",
	"clusterName": "cluster",
	"snapshotId":  "snapshot",
	"bucketId":    "bucket",
	"customData":  "custom-data",
	"desc":        "description",
	"retention":   "retention-days",
	"iamRoleId":   "role",
	"roleId":      "role",
	"serviceUrl":  "service-url",
	"force":       "yes",
}

// foreignFlags are flags of the Atlas CLI that have no counterpart here, with what to do instead.
var foreignFlags = map[string]string{
	"limit":     "a list has no pages here, and is read to its end",
	"page":      "a list has no pages here, and is read to its end",
	"omitCount": "a list has no pages here, and is read to its end",
}

func flagName(_ *pflag.FlagSet, name string) pflag.NormalizedName {
	return pflag.NormalizedName(cmp.Or(flagNames[name], name))
}

// flagError words the error about a flag. If the flag is misspelt, it names the one that was
// probably meant. If the flag is unknown because the command is, it names the command: Cobra reads
// the flags of a group before the group sees what stands beside them.
func (a *app) flagError(c *cobra.Command, err error) error {
	unknown, ok := errors.AsType[*pflag.NotExistError](err)
	if !ok {
		value, isValue := errors.AsType[*pflag.InvalidValueError](err)
		if _, ofGo := errors.AsType[*strconv.NumError](err); isValue && ofGo { // which speaks of strconv
			problem := map[string]string{"bool": "is not true or false", "int": "is not a whole number"}[value.GetFlag().Value.Type()]
			if errors.Is(err, strconv.ErrRange) {
				problem = "is out of range"
			}
			return usageError(c, "--%s: %q %s", value.GetFlag().Name, value.GetValue(), problem)
		}
		return usageError(c, "%w", err)
	}
	_, args, findErr := c.Root().Find(a.args)
	c.Flags().ParseErrorsAllowlist.UnknownFlags = true
	if findErr == nil && c.Flags().Parse(args) == nil && c.HasSubCommands() && c.Flags().NArg() > 0 {
		return c.RunE(c, c.Flags().Args())
	}
	if cure := foreignFlags[unknown.GetSpecifiedName()]; cure != "" {
		return usageError(c, "%w: %s", err, cure)
	}
	hint := ""
	var names []string
	c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	if name := nearest.Name(unknown.GetSpecifiedName(), names); name != "" {
		hint = "; did you mean --" + name + "?"
	}
	return usageError(c, "%w%s", err, hint)
}

// require refuses a command line without the named flags. It replaces Cobra's own check, which
// comes before group reports an unknown command, and words its error in another way.
func require(c *cobra.Command, names ...string) error {
	for _, name := range names {
		if !c.Flags().Changed(name) {
			return usageError(c, "--%s is missing", name)
		}
	}
	return nil
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  arguments(),
		RunE: func(*cobra.Command, []string) error {
			fmt.Fprintln(a.stdout, "atlas-export", build.Version())
			return nil
		},
	}
}

// must panics on an error in how the commands are put together. Every test would find it.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

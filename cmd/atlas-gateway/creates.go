package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"atlas-export-gateway/gateway"
	"atlas-export-gateway/gateway/config"
)

// operatorTime bounds a call to a gateway that runs.
const operatorTime = 30 * time.Second

// operator calls the management listener of a gateway that runs.
type operator struct {
	ctx            context.Context
	base           string
	stdout, stderr io.Writer
}

// creates shows the creates of a gateway that runs, and releases their keys.
func creates(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("creates", flag.ContinueOnError)
	base := flags.String("management", "http://"+config.DefaultManagementAddress, "the `URL` of the gateway's management listener")
	all := flags.Bool("all", false, "list the creates that changed last, not only those whose outcome is open")
	reason := flags.String("reason", "", "why the key is released, or how you know the result; `text` for the gateway's log")
	result := flags.String("result", "", "the `id` of what the create has created")
	// Flags may stand behind the command as well.
	command, rest := "", args
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		command, rest = args[0], args[1:]
	}
	id := ""
	if command != "" && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
		id, rest = rest[0], rest[1:]
	}
	if status, done := parse(flags, rest, 0, stdout, stderr); done {
		return status
	}
	if u, err := url.Parse(*base); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return misused(stderr, "creates: -management: expected the URL of the management listener, such as http://"+config.DefaultManagementAddress)
	}
	ctx, cancel := context.WithTimeout(ctx, operatorTime)
	defer cancel()
	o := &operator{ctx: ctx, base: strings.TrimSuffix(*base, "/"), stdout: stdout, stderr: stderr}
	switch {
	case command == "list" && id == "":
		return o.list(*all)
	case command == "show" && id != "":
		return o.show(id)
	case (command == "release" || command == "settle") && id != "" && *reason == "":
		return misused(stderr, "creates "+command+": -reason is required; it goes into the gateway's log")
	case command == "settle" && id != "" && *result == "":
		return misused(stderr, "creates settle: -result is required, the id of what was created")
	case command == "release" && id != "":
		return o.decide(id, command, map[string]string{"reason": *reason}, "the key of %s is free: the next request with it is sent\n")
	case command == "settle" && id != "":
		return o.decide(id, command, map[string]string{"reason": *reason, "result": *result}, "requests with the key of %s get "+*result+"\n")
	}
	return misused(stderr, "expected creates list [-all], creates show ID, creates settle ID -result ID -reason TEXT or creates release ID -reason TEXT")
}

func (o *operator) list(all bool) int {
	target := "/creates"
	if all {
		target += "?all=true"
	}
	var records []gateway.CreateRecord
	if status := o.call(http.MethodGet, target, nil, &records); status != exitOK {
		return status
	}
	if len(records) == 0 {
		fmt.Fprintln(o.stderr, "no creates")
		return exitOK
	}
	table := tabwriter.NewWriter(o.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tSTATE\tKIND\tCALLER\tCLUSTER\tSUBJECT\tRESULT\tSENT")
	for _, r := range records {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.ID, r.State, r.Kind, r.Caller, orDash(r.Cluster), orDash(r.Subject), orDash(r.Result), r.Sent.Format(time.RFC3339))
	}
	table.Flush()
	return exitOK
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

func (o *operator) show(id string) int {
	var record gateway.CreateRecord
	if status := o.call(http.MethodGet, "/creates/"+url.PathEscape(id), nil, &record); status != exitOK {
		return status
	}
	encoder := json.NewEncoder(o.stdout)
	encoder.SetIndent("", "  ")
	encoder.Encode(record)
	return exitOK
}

// decide tells the gateway what an operator says of a create.
func (o *operator) decide(id, what string, decision map[string]string, done string) int {
	content, _ := json.Marshal(decision)
	if status := o.call(http.MethodPost, "/creates/"+url.PathEscape(id)+"/"+what, content, nil); status != exitOK {
		return status
	}
	fmt.Fprintf(o.stdout, done, id)
	return exitOK
}

// call calls the gateway, and decodes its answer into a value.
func (o *operator) call(method, target string, content []byte, into any) int {
	failed := func(err error) int {
		fmt.Fprintf(o.stderr, "atlas-gateway: creates: %v; -management names the management listener of the gateway\n", err)
		return exitFailed
	}
	request, err := http.NewRequestWithContext(o.ctx, method, o.base+target, bytes.NewReader(content))
	if err != nil {
		return failed(err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return failed(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 16<<20))
	if err != nil {
		return failed(err)
	}
	if response.StatusCode != http.StatusOK {
		fmt.Fprintln(o.stderr, "atlas-gateway: creates:", strings.TrimSpace(string(body)))
		return exitFailed
	}
	if into == nil {
		return exitOK
	}
	if err := json.Unmarshal(body, into); err != nil {
		return failed(err)
	}
	return exitOK
}

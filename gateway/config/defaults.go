package config

import (
	"cmp"
	"slices"
	"time"
)

// DefaultManagementAddress is the default of management.address.
const DefaultManagementAddress = "127.0.0.1:27090"

// The values of listener.client_certificates.
const (
	Optional = "optional"
	Required = "required"
)

// fill puts the defaults where nothing is set.
func (c *Config) fill() {
	c.Listener.Address = cmp.Or(c.Listener.Address, "127.0.0.1:8080")
	if c.Listener.ClientCAFile != "" {
		c.Listener.ClientCertificates = cmp.Or(c.Listener.ClientCertificates, Optional)
	}
	c.Management.Address = cmp.Or(c.Management.Address, DefaultManagementAddress)
	c.Upstream.BaseURL = cmp.Or(c.Upstream.BaseURL, "https://cloud.mongodb.com")
	c.Upstream.MaxConnections = cmp.Or(c.Upstream.MaxConnections, 256)
	c.Limits.RequestHeader = cmp.Or(c.Limits.RequestHeader, 16<<10)
	c.Limits.RequestBody = cmp.Or(c.Limits.RequestBody, 256<<10)
	c.Limits.ResponseBody = cmp.Or(c.Limits.ResponseBody, 8<<20)
	c.Limits.RequestValues = cmp.Or(c.Limits.RequestValues, 10_000)
	c.Limits.InFlight = cmp.Or(c.Limits.InFlight, 512)
	c.Limits.Connections = cmp.Or(c.Limits.Connections, 4096)
	c.Timeouts.Header = cmp.Or(c.Timeouts.Header, 5*time.Second)
	c.Timeouts.Request = cmp.Or(c.Timeouts.Request, 15*time.Second)
	c.Timeouts.Upstream = cmp.Or(c.Timeouts.Upstream, 60*time.Second)
	c.Timeouts.Idle = cmp.Or(c.Timeouts.Idle, 120*time.Second)
	c.Timeouts.Drain = cmp.Or(c.Timeouts.Drain, 3*time.Second)
	c.Timeouts.Shutdown = cmp.Or(c.Timeouts.Shutdown, 75*time.Second)
	c.Requests.Check = cmp.Or(c.Requests.Check, "enforce")
	c.Responses.Check = cmp.Or(c.Responses.Check, "report")
	c.Responses.Sample = cmp.Or(c.Responses.Sample, 100)
	c.Creates.Journal = cmp.Or(c.Creates.Journal, "file")
	c.Creates.Keys = cmp.Or(c.Creates.Keys, "derived")
	c.Creates.Retention = cmp.Or(c.Creates.Retention, 24*time.Hour)
	c.Creates.Quarantine = cmp.Or(c.Creates.Quarantine, time.Minute)
	c.Creates.Wait = cmp.Or(c.Creates.Wait, 10*time.Second)
	c.Creates.OpenPerCaller = cmp.Or(c.Creates.OpenPerCaller, 1000)
	c.Reads.Share = cmp.Or(c.Reads.Share, "on")
	c.Reads.Freshness = cmp.Or(c.Reads.Freshness, time.Second)
	c.Reads.KeptBytes = cmp.Or(c.Reads.KeptBytes, 16<<20)
	c.Budget.Requests = cmp.Or(c.Budget.Requests, 1200)
	c.Budget.PerMinute = cmp.Or(c.Budget.PerMinute, 500)
	c.Budget.Wait = cmp.Or(c.Budget.Wait, 20*time.Second)
	c.Budget.Attempts = cmp.Or(c.Budget.Attempts, 3)
	c.Log.Level = cmp.Or(c.Log.Level, "info")
	c.Log.Format = cmp.Or(c.Log.Format, "json")
	c.Upstream.Credentials = slices.Clone(c.Upstream.Credentials)
	for i := range c.Upstream.Credentials {
		if len(c.Upstream.Credentials[i].Groups) == 0 {
			c.Upstream.Credentials[i].Groups = []string{"*"}
		}
	}
}

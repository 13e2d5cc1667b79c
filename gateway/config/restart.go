package config

import "errors"

// CheckFixed refuses other values of the settings that the listeners were opened with, which
// before has: they can't be changed without a restart.
func (p *Parts) CheckFixed(before *Parts) error {
	var errs []error
	fixed := func(path string, is, was any) {
		if is != was {
			errs = append(errs, p.where.errorf(path, "can't be changed without a restart"))
		}
	}
	is, was := &p.Config, &before.Config
	fixed("listener.address", is.Listener.Address, was.Listener.Address)
	fixed("listener.tls_cert_file", is.Listener.TLSCertFile, was.Listener.TLSCertFile)
	fixed("listener.tls_key_file", is.Listener.TLSKeyFile, was.Listener.TLSKeyFile)
	fixed("listener.allow_plain_http", is.Listener.AllowPlainHTTP, was.Listener.AllowPlainHTTP)
	fixed("listener.client_address", is.Listener.ClientAddress, was.Listener.ClientAddress)
	fixed("management.address", is.Management.Address, was.Management.Address)
	fixed("limits.request_header", is.Limits.RequestHeader, was.Limits.RequestHeader)
	fixed("limits.connections", is.Limits.Connections, was.Limits.Connections)
	fixed("timeouts.header", is.Timeouts.Header, was.Timeouts.Header)
	fixed("timeouts.request", is.Timeouts.Request, was.Timeouts.Request)
	fixed("timeouts.upstream", is.Timeouts.Upstream, was.Timeouts.Upstream)
	fixed("timeouts.idle", is.Timeouts.Idle, was.Timeouts.Idle)
	fixed("timeouts.drain", is.Timeouts.Drain, was.Timeouts.Drain)
	fixed("timeouts.shutdown", is.Timeouts.Shutdown, was.Timeouts.Shutdown)
	fixed("creates.journal", is.Creates.Journal, was.Creates.Journal)
	fixed("creates.file", is.Creates.File, was.Creates.File)
	fixed("creates.postgres_url_file", is.Creates.PostgresURLFile, was.Creates.PostgresURLFile)
	fixed("creates.postgres_url_env", is.Creates.PostgresURLEnv, was.Creates.PostgresURLEnv)
	fixed("creates.wait", is.Creates.Wait, was.Creates.Wait)
	fixed("audit.file", is.Audit.File, was.Audit.File)
	fixed("audit.required", is.Audit.Required, was.Audit.Required)
	fixed("tracing.endpoint", is.Tracing.Endpoint, was.Tracing.Endpoint)
	fixed("tracing.ca_file", is.Tracing.CAFile, was.Tracing.CAFile)
	fixed("tracing.headers_file", is.Tracing.HeadersFile, was.Tracing.HeadersFile)
	fixed("tracing.timeout", is.Tracing.Timeout, was.Tracing.Timeout)
	fixed("tracing.sample", is.Tracing.Sample, was.Tracing.Sample)
	fixed("tracing.trust_traceparent", is.Tracing.TrustTraceparent, was.Tracing.TrustTraceparent)
	fixed("tracing.service_name", is.Tracing.ServiceName, was.Tracing.ServiceName)
	fixed("tracing.resource_attributes", is.Tracing.ResourceAttributes, was.Tracing.ResourceAttributes)
	fixed("log.level", is.Log.Level, was.Log.Level)
	fixed("log.format", is.Log.Format, was.Log.Format)
	return errors.Join(errs...)
}

package gateway

import (
	"crypto/tls"
	"crypto/x509"
	"time"

	"atlas-export-gateway/gateway/observe"
)

// state returns what the metrics say of the gateway as it is now.
func (g *Gateway) state() observe.State {
	s := g.settings.Load()
	state := observe.State{
		Worked:      int(g.lasting.admission.worked.taken.Load()),
		Buffered:    int(g.lasting.admission.buffered.taken.Load()),
		InFlight:    s.config.Limits.InFlight,
		Connections: s.config.Limits.Connections,
		ReportOnly:  len(s.reportOnly),
	}
	if s.certificate != nil {
		state.Certificates = append(state.Certificates, observe.Certificate{Name: "listener", Expires: expires(s.certificate)})
	}
	if s.authorities != nil {
		state.Certificates = append(state.Certificates, observe.Certificate{Name: "client_ca", Expires: s.authorities.Expires})
	}
	return state
}

// expires returns when the first certificate of a chain expires.
func expires(chain *tls.Certificate) (first time.Time) {
	for _, der := range chain.Certificate {
		if c, err := x509.ParseCertificate(der); err == nil && (first.IsZero() || c.NotAfter.Before(first)) {
			first = c.NotAfter
		}
	}
	return first
}

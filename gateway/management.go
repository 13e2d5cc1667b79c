package gateway

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"

	"atlas-export-gateway/internal/hosts"
)

// Management answers operators: /healthz while the process lives, /readyz while it wants requests,
// /metrics for Prometheus, /callers for callers and their keys, and /creates for creates that have
// a journal. It answers everything else with 403: a client of Atlas whose base URL names this
// listener would take a 404 for the news that something was deleted.
func (g *Gateway) Management() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", g.ready)
	mux.Handle("GET /metrics", g.metrics.Handler())
	g.manageCallers(mux)
	g.manageCreates(mux)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { writeError(w, r, classify(errOperatorsOnly)) })
	return mux
}

// errOperatorsOnly refuses what is none of the operators' pages.
var errOperatorsOnly = errors.New("the listener is for operators")

// refuseOtherSites refuses what comes from pages of other sites, if the listener is on loopback.
func refuseOtherSites(address net.Addr, next http.Handler) http.Handler {
	if !hosts.LoopbackAddress(address.String()) {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := refuseForeign(r, new(url.URL), nil); err != nil {
			writeError(w, r, classify(err))
			return
		}
		next.ServeHTTP(w, r)
	})
}

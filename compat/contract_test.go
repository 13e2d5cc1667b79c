package compat_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"atlas-export-gateway/api"
	"atlas-export-gateway/contract"

	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers/gorillamux"
)

// BenchmarkValidate measures what it costs to find the operation of a request and to check its
// parameters and body: by package contract, and by kin-openapi with its router for gorilla/mux
// and default options. Compare only ratios within one run.
func BenchmarkValidate(b *testing.B) {
	const (
		exports   = "/api/atlas/v2/groups/64f0c1a2b3d4e5f607182930/clusters/orders/backup/exports"
		mediaType = "application/vnd.atlas.2023-01-01+json"
	)
	doc, err := api.Load()
	if err != nil {
		b.Fatal(err)
	}
	compiled, err := contract.Compile(doc)
	if err != nil {
		b.Fatal(err)
	}
	if doc, err = api.Load(); err != nil {
		b.Fatal(err)
	}
	doc.Servers = nil // the host is not part of the comparison
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		b.Fatal(err)
	}
	for _, request := range []struct{ name, method, target, body string }{
		{"GET", "GET", exports + "?includeCount=true&itemsPerPage=100&pageNum=1", ""},
		{"POST", "POST", exports, `{"customData":[{"key":"exported by","value":"nightly"},{"key":"ticket","value":"OPS-1024 quarterly archive"}],"exportBucketId":"65a9d3e1f20b4c7788990011","snapshotId":"6a01e0b45be2d84417c09f10"}`},
	} {
		b.Run(request.name+"/gateway", func(b *testing.B) {
			accept, body := []string{mediaType}, []byte(request.body)
			b.ReportAllocs()
			for b.Loop() {
				match, err := compiled.Match(request.method, request.target)
				if err != nil {
					b.Fatal(err)
				}
				version, err := match.Operation.Resolve(accept)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := match.Check(version, nil, body, 10_000); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(request.name+"/kin-openapi", func(b *testing.B) {
			r, err := http.NewRequest(request.method, "http://gateway.example.com"+request.target, nil)
			if err != nil {
				b.Fatal(err)
			}
			r.Header["Accept"], r.Header["Content-Type"] = []string{mediaType}, []string{mediaType}
			options := &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc}
			b.ReportAllocs()
			for b.Loop() {
				if request.body != "" {
					r.Body, r.ContentLength = io.NopCloser(strings.NewReader(request.body)), int64(len(request.body))
				}
				route, parameters, err := router.FindRoute(r)
				if err != nil {
					b.Fatal(err)
				}
				input := &openapi3filter.RequestValidationInput{Request: r, PathParams: parameters, Route: route, Options: options}
				if err := openapi3filter.ValidateRequest(r.Context(), input); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

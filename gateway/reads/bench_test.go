package reads_test

import (
	"context"
	"net/http"
	"testing"

	"atlas-export-gateway/gateway/atlas"
	"atlas-export-gateway/gateway/reads"
)

// BenchmarkUnshared is what a read costs that shares with nobody, besides its fetch.
func BenchmarkUnshared(b *testing.B) {
	r := start()
	ctx, cancel := context.WithCancel(b.Context()) // as that of a connection
	defer cancel()
	response := &atlas.Response{Status: http.StatusOK, Header: http.Header{}, Body: []byte("{}")}
	q := read(b, list)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Do(ctx, reads.Config{}, q, func(context.Context) (*atlas.Response, error) { return response, nil }); err != nil {
			b.Fatal(err)
		}
	}
}

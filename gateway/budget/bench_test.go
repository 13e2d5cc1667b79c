package budget_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"atlas-export-gateway/contract"
	"atlas-export-gateway/gateway/atlas"
	"atlas-export-gateway/gateway/budget"
	"atlas-export-gateway/sim"
)

// atOnce answers at once, with nearly everything left.
type atOnce struct{}

func (atOnce) Send(context.Context, *atlas.Request) (*atlas.Response, error) {
	return &atlas.Response{Status: http.StatusOK, Header: http.Header{"Ratelimit-Limit": {"1200"}, "Ratelimit-Remaining": {"1199"}}}, nil
}

// What the budget costs a request while nothing is scarce.
func BenchmarkSend(b *testing.B) {
	rules, err := contract.Load()
	if err != nil {
		b.Fatal(err)
	}
	match, err := rules.Match("GET", buckets)
	if err != nil {
		b.Fatal(err)
	}
	r := &atlas.Request{Operation: match.Operation, Group: sim.GroupID}
	way := budget.New(budget.Observer{Waited: func(string, time.Duration) {}, Repeated: func() {}}).Way(atOnce{}, defaults)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if _, err := way.Send(b.Context(), "a", r); err != nil {
				b.Error(err)
			}
		}
	})
}

package contract_test

import (
	"net/http"
	"testing"
)

func TestCheckResponse(t *testing.T) {
	c := compiled(t)
	m, err := c.Match("GET", exports)
	if err != nil {
		t.Fatal(err)
	}
	v, err := m.Operation.Resolve([]string{latest})
	if err != nil {
		t.Fatal(err)
	}
	const one = `{"id":"6a01f3c95be2d84417c0aa01","state":"Paused","later":{"any":"thing"}}`
	tests := []struct {
		name      string
		status    int
		body      string
		enveloped bool
		valid     bool
	}{
		{"a list with an unknown state and member", 200, `{"results":[` + one + `],"links":[]}`, false, true},
		{"an enveloped list", 200, `{"results":[` + one + `],"status":200}`, true, true},
		{"an error", 404, `{"error":404,"errorCode":"GROUP_NOT_FOUND","detail":"d"}`, false, true},
		{"an undeclared error", 418, `{"error":418,"errorCode":"TEAPOT"}`, false, true},
		{"an enveloped error", 404, `{"status":404,"content":{"error":404,"errorCode":"GROUP_NOT_FOUND"}}`, true, true},
		{"a list without results", 200, `{"links":[]}`, false, false},
		{"a job without a state", 200, `{"results":[{"id":"6a01f3c95be2d84417c0aa01"}]}`, false, false},
		{"an error with a text for a number", 404, `{"error":"404","errorCode":"GROUP_NOT_FOUND"}`, false, false},
		{"an enveloped error that HTTP calls a success", 200, `{"status":404,"content":{"error":404,"errorCode":"GROUP_NOT_FOUND"}}`, true, true},
		{"an enveloped error that is none", 200, `{"status":404,"content":{"id":"6a01f3c95be2d84417c0aa01"}}`, true, false},
		{"an envelope in other words", 200, `{"status":200,"envelope":{"results":[` + one + `]}}`, true, true},
		{"an enveloped list without results", 200, `{"status":200,"content":{"links":[]}}`, true, false},
		{"an envelope nobody asked for", 404, `{"status":404,"content":{"error":404,"errorCode":"X"}}`, false, false},
		{"half an answer", 200, `{"results":[`, false, false},
		{"nothing", 200, ``, false, false},
	}
	for _, test := range tests {
		if err := v.CheckResponse(test.status, []byte(test.body), test.enveloped); (err == nil) != test.valid {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	m, err = c.Match(http.MethodDelete, buckets+"/"+bucket)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Operation.Versions[0].CheckResponse(204, nil, false); err != nil {
		t.Errorf("204 without content: %v", err)
	}
	if err := m.Operation.Versions[0].CheckResponse(200, []byte(`{"status":204}`), true); err != nil {
		t.Errorf("an enveloped 204: %v", err)
	}
	if err := m.Operation.Versions[0].CheckResponse(204, []byte("{}"), false); err == nil {
		t.Error("204 with content was accepted")
	}
}

package gateway

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"atlas-export-gateway/gateway/inbound"
)

// apiError is Atlas's form of an error. Official clients insist on application/json and on an
// integer error; application/problem+json makes them fail.
type apiError struct {
	Error            int         `json:"error"`
	ErrorCode        string      `json:"errorCode"`
	Reason           string      `json:"reason"`
	Detail           string      `json:"detail"`
	Parameters       []string    `json:"parameters,omitempty"`
	BadRequestDetail *badRequest `json:"badRequestDetail,omitempty"`
}

type badRequest struct {
	Fields []fieldViolation `json:"fields"`
}

type fieldViolation struct {
	Field       string `json:"field"`
	Description string `json:"description"`
}

// writeError is the one place where an error of the gateway becomes an answer.
func writeError(w http.ResponseWriter, r *http.Request, e *refusal) {
	content := apiError{Error: e.status, ErrorCode: e.code, Reason: http.StatusText(e.status), Detail: e.detail, Parameters: e.parameters}
	if len(e.fields) > 0 {
		content.BadRequestDetail = &badRequest{}
		for _, v := range e.fields {
			content.BadRequestDetail.Fields = append(content.BadRequestDetail.Fields, fieldViolation{v.Field, v.Description})
		}
	}
	var body any = content
	if setsTrue(r.URL.RawQuery, "envelope") {
		body = struct {
			Status  int      `json:"status"`
			Content apiError `json:"content"`
		}{e.status, content}
	}
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	if setsTrue(r.URL.RawQuery, "pretty") {
		encoder.SetIndent("", "  ")
	}
	if err := encoder.Encode(body); err != nil {
		panic(err) // structs of strings and numbers always encode
	}
	h := w.Header()
	for name, value := range e.header {
		h.Set(name, value)
	}
	h["Content-Type"] = []string{"application/json"}
	h["Content-Length"] = []string{strconv.Itoa(buffer.Len())}
	h["X-Error-Code"] = []string{e.code}
	h["Gateway-Error"] = []string{e.name}
	w.WriteHeader(e.status)
	w.Write(buffer.Bytes())
}

// shortenDeadlines leaves a caller little time to receive a refusal. unread means that the request's
// content was not read.
func shortenDeadlines(w http.ResponseWriter, r *http.Request, unread bool) {
	inbound.Refused(r.Context())
	if unread {
		// net/http reads announced content before it sends the refusal, so that the connection can
		// serve another request, and reads chunks before it closes the connection. A second is enough
		// for content that is already on its way.
		http.NewResponseController(w).SetReadDeadline(time.Now().Add(time.Second))
	}
	if r.ProtoMajor == 2 {
		// A peer that has no window for the refusal holds memory for as long as net/http tries to send
		// it, and can do so in many streams. A refusal needs no longer than this.
		http.NewResponseController(w).SetWriteDeadline(time.Now().Add(5 * time.Second))
	}
}

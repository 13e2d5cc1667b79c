package sim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
)

// unauthorized is the body of every challenge, as recorded.
const unauthorized = `{"error":401,"reason":"Unauthorized","detail":"You are not authorized for this resource.","errorCode":"UNEXPECTED_ERROR"}`

// answer collects a response, so that finish can change the whole of it.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
	// verbatim answers get no media type of a version, no envelope and no pretty: they are
	// as recorded, or broken on purpose.
	verbatim bool
}

// Header, WriteHeader and Write make an answer the http.ResponseWriter of operations.
func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(p)
}

func (a *answer) reset() {
	a.status = 0
	a.body.Reset()
}

// write sets the whole response.
func (a *answer) write(status int, contentType string, body []byte) {
	a.reset()
	a.header.Set("Content-Type", contentType)
	a.status = status
	a.body.Write(body)
}

// reply answers 200 with a value of the simulation's own, which may have members that the contract
// does not name. The operation returns nil to the generated code, which then writes nothing.
func (x *exchange) reply(value any) error {
	body, err := json.Marshal(value)
	if err == nil {
		x.answer.write(http.StatusOK, "application/json", body)
	}
	return err
}

// apiError is an error that Atlas answers with an ApiError.
type apiError struct {
	status     int
	code       string
	detail     string
	parameters []any
	challenge  bool // answer with the recorded 401 instead of code and detail
}

func (f *apiError) Error() string { return f.code + ": " + f.detail }

// failure returns an ApiError. Its detail is the format with the parameters; the answer also
// lists them.
func failure(status int, code, format string, parameters ...any) error {
	if parameters == nil {
		parameters = []any{}
	}
	return &apiError{status: status, code: code, detail: fmt.Sprintf(format, parameters...), parameters: parameters}
}

// refuse writes an error as Atlas does.
func (a *answer) refuse(err error) {
	var f *apiError
	if !errors.As(err, &f) {
		f = &apiError{status: http.StatusInternalServerError, code: "UNEXPECTED_ERROR", detail: "Unexpected error.", parameters: []any{}}
	}
	if f.challenge {
		a.header.Set("X-Error-Code", "UNEXPECTED_ERROR")
		a.write(f.status, "application/json", []byte(unauthorized))
		return
	}
	body, _ := json.Marshal(map[string]any{
		"error":      f.status,
		"errorCode":  f.code,
		"reason":     http.StatusText(f.status),
		"detail":     f.detail,
		"parameters": f.parameters,
	})
	a.header.Set("X-Error-Code", f.code)
	a.write(f.status, "application/json", body)
}

// finish gives the answer of an operation its final form: media type, envelope, pretty.
func (a *answer) finish(x *exchange) {
	a.WriteHeader(http.StatusOK)
	x.setLiveFields(a.header)
	if a.verbatim {
		return
	}
	if x.version != "" && a.status < 400 { // also of a 204, as recorded
		a.header.Set("Content-Type", "application/vnd.atlas."+x.version+"+json;charset=utf-8")
	}
	if a.body.Len() == 0 {
		return
	}
	a.plain()
	if x.request.URL.RawQuery != "" {
		query := x.request.URL.Query()
		if isTrue(query.Get("envelope")) {
			a.envelop(x.op != nil && x.op.list)
		}
		if isTrue(query.Get("pretty")) {
			a.indent()
		}
	}
	a.header.Set("Content-Length", strconv.Itoa(a.body.Len()))
}

// isTrue reads a boolean of the query as the generated code does.
func isTrue(s string) bool {
	b, err := strconv.ParseBool(s)
	return err == nil && b
}

// envelop puts the HTTP status into the body: as a member of a list, or around anything
// else. Inferred: an error is wrapped too, and keeps its HTTP status.
func (a *answer) envelop(list bool) {
	body := bytes.Clone(a.body.Bytes())
	a.body.Reset()
	if list && a.status < 400 {
		fmt.Fprintf(&a.body, `%s,"status":%d}`, body[:len(body)-1], a.status)
		return
	}
	fmt.Fprintf(&a.body, `{"status":%d,"content":%s}`, a.status, body)
}

func (a *answer) indent() {
	var pretty bytes.Buffer
	if json.Indent(&pretty, a.body.Bytes(), "", "  ") == nil {
		a.body = pretty
	}
}

// plain undoes what encoding/json does and Atlas does not: it puts & < > in place of their
// escapes, which are for HTML, and drops the line feed at the end.
func (a *answer) plain() {
	body := bytes.TrimSuffix(a.body.Bytes(), []byte("\n"))
	if !bytes.Contains(body, []byte(`\u00`)) {
		a.body.Truncate(len(body))
		return
	}
	out := body[:0] // in place: the result is never longer
	for i := 0; i < len(body); i++ {
		if body[i] != '\\' {
			out = append(out, body[i])
			continue
		}
		if i+6 <= len(body) && body[i+1] == 'u' {
			switch string(body[i+2 : i+6]) {
			case "0026":
				out = append(out, '&')
				i += 5
				continue
			case "003c":
				out = append(out, '<')
				i += 5
				continue
			case "003e":
				out = append(out, '>')
				i += 5
				continue
			}
		}
		out = append(out, body[i], body[i+1])
		i++
	}
	a.body.Truncate(len(out))
}

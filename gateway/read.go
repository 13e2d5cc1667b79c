package gateway

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"time"

	"atlas-export-gateway/contract"
	"atlas-export-gateway/internal/content"
)

// identity is the Content-Encoding that means no encoding (RFC 9110, section 12.5.3).
var identity = []string{"identity"}

// read reads the request's content, once and bounded. Where the header shows that the request is
// to be refused, nothing is read.
func (g *Gateway) read(x *exchange) error {
	in := x.in
	if in.ContentLength == 0 || in.Body == nil || in.Body == http.NoBody {
		return nil
	}
	if encoding := in.Header["Content-Encoding"]; len(encoding) > 0 && !slices.Equal(encoding, identity) {
		return &contract.MediaTypeError{Detail: "Content-Encoding is not supported; send the content as it is."}
	}
	if x.version.HasBody() {
		if err := contract.CheckContentType(in.Header["Content-Type"]); err != nil {
			return err
		}
	}
	limit := int64(x.settings.config.Limits.RequestBody)
	if in.ContentLength > limit {
		return &http.MaxBytesError{Limit: limit}
	}
	body, err := content.Read(&buffered{Reader: http.MaxBytesReader(x.out, in.Body, limit), ticket: &x.ticket}, in.ContentLength)
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return tooLarge
	}
	switch err {
	case nil:
		x.body = body
		return nil
	case errOverloaded:
		return err
	}
	return &readError{err, x.settings.config.Timeouts.Request}
}

// readError is content that could not be read.
type readError struct {
	error
	limit time.Duration // timeouts.request
}

func (e *readError) Unwrap() error { return e.error }

// buffered is content that takes a place once it is no longer short.
type buffered struct {
	io.Reader
	ticket *ticket
	read   int
}

func (b *buffered) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if b.read += n; b.read > shortContent {
		if err := b.ticket.buffer(); err != nil {
			return n, err
		}
	}
	return n, err
}

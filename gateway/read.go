package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"

	"atlas-export-gateway/contract"
)

// identity is the one Content-Encoding that is none.
var identity = []string{"identity"}

// read takes the request's content, once and bounded. What can be refused by the header
// alone is refused before anything is read.
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
	limit := int64(x.config.Limits.RequestBody)
	if in.ContentLength > limit {
		return &http.MaxBytesError{Limit: limit}
	}
	body, err := readContent(&held{Reader: http.MaxBytesReader(x.out, in.Body, limit), x: x}, in.ContentLength)
	var tooLarge *http.MaxBytesError
	var refused *refusal
	switch {
	case err == nil:
		x.body = body
		return nil
	case errors.As(err, &tooLarge), errors.As(err, &refused):
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return refuse(kindRequestTimeout, err, "The request did not arrive within %s.", x.config.Timeouts.Request)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return refuse(kindCallerGone, err, "The request ended early.")
	default:
		return refuse(kindRequest, fmt.Errorf("reading the content: %w", err), "The request's content can't be read.")
	}
}

// held is content that takes a place once it is no longer short.
type held struct {
	io.Reader
	x    *exchange
	read int
}

func (h *held) Read(p []byte) (int, error) {
	n, err := h.Reader.Read(p)
	if h.read += n; h.read > short {
		if err := h.x.hold(); err != nil {
			return n, err
		}
	}
	return n, err
}

// readContent reads content of a known length, or of -1 for an unknown one, to its end. The
// memory grows with what arrives, not with what was announced.
func readContent(content io.Reader, length int64) ([]byte, error) {
	const atOnce = 8 << 10
	if length < 0 || length > atOnce {
		var buffer bytes.Buffer
		n, err := buffer.ReadFrom(content)
		if err == nil && n < length {
			err = io.ErrUnexpectedEOF
		}
		return buffer.Bytes(), err
	}
	body := make([]byte, length)
	n, err := io.ReadFull(content, body)
	if err == io.EOF && length > 0 {
		err = io.ErrUnexpectedEOF
	}
	return body[:n], err
}

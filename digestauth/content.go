package digestauth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// ErrBodyTooLarge says that a request's content exceeds [Config.MaxBody] and has no GetBody. Nothing was sent.
var ErrBodyTooLarge = errors.New("digestauth: the content is too large to be kept for a second sending")

// content is a request's, to be sent as often as it takes. It is not left to net/http to rewind: given a GetBody, its Transport
// repeats a POST that carries an Idempotency-Key after a connection was reset, when the first may have been carried out.
type content struct {
	open   func() (io.ReadCloser, error) // nil if there is none
	length int64                         // as in http.Request.ContentLength
}

// takeContent takes the content out of req and closes its Body.
func takeContent(req *http.Request, limit int64) (content, error) {
	if req.Body == nil || req.Body == http.NoBody {
		return content{}, nil
	}
	defer req.Body.Close()
	if req.GetBody != nil {
		return content{req.GetBody, req.ContentLength}, nil
	}
	if req.ContentLength > limit {
		return content{}, ErrBodyTooLarge
	}
	stop := context.AfterFunc(req.Context(), func() { req.Body.Close() }) // ends a read that blocks
	defer stop()
	var kept bytes.Buffer
	kept.Grow(int(max(req.ContentLength, 0)) + bytes.MinRead)
	n, err := kept.ReadFrom(io.LimitReader(req.Body, limit+1))
	switch {
	case req.Context().Err() != nil:
		return content{}, req.Context().Err()
	case err != nil:
		return content{}, fmt.Errorf("digestauth: reading the content: %w", err)
	case n > limit:
		return content{}, ErrBodyTooLarge
	case req.ContentLength > 0 && n != req.ContentLength:
		return content{}, fmt.Errorf("digestauth: the content has %d bytes, not %d as its Content-Length says", n, req.ContentLength)
	case n == 0:
		return content{}, nil
	}
	return content{func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(kept.Bytes())), nil }, n}, nil
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		req.Body.Close()
	}
}

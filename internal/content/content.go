// Package content reads the content of requests and responses in full. The gateway calls it on
// both of its sides.
package content

import (
	"bytes"
	"io"
)

// atOnce is the longest content whose announced length is believed before it has arrived, in
// bytes.
const atOnce = 8 << 10

// Read reads content of a known length, or of -1 for an unknown length, to its end. Memory grows
// with what arrives, not with what was announced. The error is io.ErrUnexpectedEOF where less
// arrives than was announced.
func Read(r io.Reader, length int64) ([]byte, error) {
	if length < 0 || length > atOnce {
		var buffer bytes.Buffer
		n, err := buffer.ReadFrom(r)
		if err == nil && n < length {
			err = io.ErrUnexpectedEOF
		}
		return buffer.Bytes(), err
	}
	body := make([]byte, length)
	n, err := io.ReadFull(r, body)
	if err == io.EOF && length > 0 {
		err = io.ErrUnexpectedEOF
	}
	return body[:n], err
}

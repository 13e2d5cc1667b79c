package policy

import (
	"bytes"
	"io"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
)

// FromBody takes what grants restrict out of the body of a request that was found valid: of
// createBackupExport the exportBucketId, of createExportBucket the cloudProvider, the bucketName
// and the serviceUrl. It changes nothing for every other operation, and empties them where the
// body is not what validation lets through.
//
// A bucketName beside a serviceUrl of another container leaves ServiceURL empty, which no pattern
// matches: which of the two Atlas would take is not known.
func (r *Request) FromBody(body []byte) {
	switch twin(r.Operation) {
	case "createBackupExport":
		r.ExportBucket = texts(body, "exportBucketId")[0]
	case "createExportBucket":
		found := texts(body, "cloudProvider", "bucketName", "serviceUrl")
		r.CloudProvider, r.BucketName, r.ServiceURL = found[0], found[1], found[2]
		if _, name, _ := container(r.ServiceURL); r.BucketName != "" && r.BucketName != name {
			r.ServiceURL = ""
		}
	}
}

// texts reads top-level members of an object. It finds nothing where the body is not one
// object, without repeated members and with nothing behind it, in which they are texts.
func texts(body []byte, names ...string) (found [3]string) {
	decoder := jsontext.NewDecoder(bytes.NewBuffer(body))
	if token, err := decoder.ReadToken(); err != nil || token.Kind() != '{' {
		return [3]string{}
	}
	for decoder.PeekKind() == '"' {
		name, err := decoder.ReadToken()
		if err != nil {
			return [3]string{}
		}
		i := slices.Index(names, name.String())
		if i < 0 {
			if err := decoder.SkipValue(); err != nil {
				return [3]string{}
			}
			continue
		}
		value, err := decoder.ReadToken()
		if err != nil || value.Kind() != '"' {
			return [3]string{}
		}
		found[i] = value.String()
	}
	if token, err := decoder.ReadToken(); err != nil || token.Kind() != '}' {
		return [3]string{}
	}
	if _, err := decoder.ReadToken(); err != io.EOF {
		return [3]string{}
	}
	return found
}

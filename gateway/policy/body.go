package policy

import (
	"bytes"
	"io"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// FromBody takes what grants restrict out of the body of a request that was found valid:
// of createBackupExport the exportBucketId, of createExportBucket the cloudProvider and the
// bucketName. They are empty for every other operation, and where the body is not what
// validation lets through.
//
// The name of an Azure container is unique within its account alone, and no pattern can
// speak of accounts yet: its name is ACCOUNT/CONTAINER, which no pattern matches.
func FromBody(operation string, body []byte) (exportBucket, provider, bucketName string) {
	switch twin(operation) {
	case "createBackupExport":
		found := texts(body, "exportBucketId")
		return found[0], "", ""
	case "createExportBucket":
		found := texts(body, "cloudProvider", "bucketName", "serviceUrl")
		provider, bucketName = found[0], found[1]
		if serviceURL := found[2]; serviceURL != "" {
			bucketName = azureName(serviceURL)
		}
	}
	return "", provider, bucketName
}

// azureName returns ACCOUNT/CONTAINER of https://ACCOUNT.blob.core.windows.net/CONTAINER.
func azureName(serviceURL string) string {
	_, location, _ := strings.Cut(serviceURL, "://")
	host, container, _ := strings.Cut(location, "/")
	account, _, _ := strings.Cut(host, ".")
	return account + "/" + container
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

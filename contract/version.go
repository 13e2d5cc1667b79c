package contract

import (
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"
)

// VersionError says that Accept names no version that the operation has.
type VersionError struct {
	// Detail is what is wrong and what to send instead, for the client.
	Detail string
}

func (e *VersionError) Error() string { return e.Detail }

// MediaTypeError says that the content of a request is not of a type that can be checked.
type MediaTypeError struct {
	// Detail is what is wrong and what to send instead, for the client.
	Detail string
}

func (e *MediaTypeError) Error() string { return e.Detail }

const (
	vendorPrefix = "application/vnd.atlas."
	vendorSuffix = "+json"
)

// Resolve finds the version of the operation that the values of Accept ask for, as Atlas does: the
// newest version that is not younger than the date in the first media type with a date. An
// operation of v1.0 has no versions; Accept must allow JSON. The error is a VersionError.
func (o *Operation) Resolve(accept []string) (*Version, error) {
	newest := o.Versions[len(o.Versions)-1]
	if newest.Date == "" {
		if !acceptsJSON(accept) {
			return nil, &VersionError{"The operation answers application/json, which Accept does not allow."}
		}
		return newest, nil
	}
	for mediaType := range accepted(accept) {
		for _, v := range o.Versions {
			if mediaType == v.MediaType {
				return v, nil
			}
		}
		date, ok := versionDate(mediaType)
		if !ok {
			if version, ok := strings.CutPrefix(mediaType, vendorPrefix); ok {
				return nil, &VersionError{fmt.Sprintf("Accept names %s; %s. Send Accept: %s.", quote(mediaType), noDate(version), newest.MediaType)}
			}
			continue
		}
		for i := len(o.Versions) - 1; i >= 0; i-- {
			if o.Versions[i].Date <= date {
				return o.Versions[i], nil
			}
		}
		return nil, &VersionError{fmt.Sprintf("Accept names the date %s; the first version of the operation is of %s. Send Accept: %s.", date, o.Versions[0].Date, newest.MediaType)}
	}
	return nil, &VersionError{"Accept names no version date. Send Accept: " + newest.MediaType + "."}
}

// noDate says why the rest of a media type of Atlas has no date.
func noDate(version string) string {
	version = strings.TrimSuffix(version, vendorSuffix)
	if version == "preview" || strings.HasSuffix(version, ".upcoming") {
		return "the operation has only stable versions"
	}
	return "a version is application/vnd.atlas.YYYY-MM-DD+json"
}

// versionDate returns the date in the media type of a stable version. The media type must be in
// lower case.
func versionDate(mediaType string) (string, bool) {
	date, ok := strings.CutPrefix(mediaType, vendorPrefix)
	if !ok {
		return "", false
	}
	if date, ok = strings.CutSuffix(date, vendorSuffix); !ok {
		return "", false
	}
	_, err := time.Parse(time.DateOnly, date)
	return date, err == nil
}

// accepted yields the media types in the values of Accept, in their order, in lower case and
// without parameters. It leaves out those with the quality 0, which are not acceptable (RFC 9110,
// section 12.4.2).
func accepted(accept []string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, value := range accept {
			for member := range strings.SplitSeq(value, ",") {
				mediaType, parameters, _ := strings.Cut(member, ";")
				if mediaType = strings.ToLower(strings.TrimSpace(mediaType)); mediaType == "" || refused(parameters) {
					continue
				}
				if !yield(mediaType) {
					return
				}
			}
		}
	}
}

// refused reports whether the parameters of a media type set its quality to 0.
func refused(parameters string) bool {
	for parameters != "" {
		var p string
		p, parameters, _ = strings.Cut(parameters, ";")
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		if strings.EqualFold(name, "q") {
			quality, err := strconv.ParseFloat(value, 64)
			return err == nil && quality == 0
		}
	}
	return false
}

// acceptsJSON reports whether JSON is acceptable, as application/json or as a type of Atlas. An
// absent or empty field accepts everything.
func acceptsJSON(accept []string) bool {
	if strings.TrimSpace(strings.Join(accept, "")) == "" {
		return true
	}
	for mediaType := range accepted(accept) {
		switch {
		case mediaType == "*/*", mediaType == "application/*", mediaType == "application/json":
			return true
		case strings.HasPrefix(mediaType, vendorPrefix) && strings.HasSuffix(mediaType, vendorSuffix):
			return true
		}
	}
	return false
}

// CheckContentType decides whether content with these values of Content-Type is JSON in UTF-8. The
// media type may be application/json or one of Atlas, which mean the same. The error is a
// MediaTypeError.
func CheckContentType(values []string) error {
	if len(values) == 1 {
		mediaType, rest, _ := strings.Cut(values[0], ";")
		mediaType = strings.ToLower(strings.TrimSpace(mediaType))
		if mediaType == "application/json" || strings.HasPrefix(mediaType, vendorPrefix) && strings.HasSuffix(mediaType, vendorSuffix) {
			return checkCharset(rest)
		}
		return &MediaTypeError{fmt.Sprintf("Content-Type is %s; send application/json.", quote(values[0]))}
	}
	if len(values) == 0 {
		return &MediaTypeError{"The request has content and no Content-Type; send application/json."}
	}
	return &MediaTypeError{"The request has more than one Content-Type; send application/json."}
}

func checkCharset(parameters string) error {
	for parameters != "" {
		var p string
		p, parameters, _ = strings.Cut(parameters, ";")
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		if strings.EqualFold(name, "charset") && !strings.EqualFold(strings.Trim(value, `"`), "utf-8") {
			return &MediaTypeError{fmt.Sprintf("The charset is %s; JSON is sent as utf-8.", quote(value))}
		}
	}
	return nil
}

package sim

import (
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"
)

// resolve finds the version that Accept asks for: the newest version of the operation that
// is not newer than the date in Accept.
func (s *Server) resolve(x *exchange, h http.Header) error {
	if len(x.op.versions) == 0 {
		return nil // v1.0 is not versioned, whatever Accept says
	}
	date := acceptedDate(x.request.Header["Accept"])
	var found *version
	for i := range x.op.versions {
		if v := &x.op.versions[i]; v.date <= date {
			found = v
		}
	}
	// Inferred: a date before the first version gets the same answer as no date.
	if found == nil {
		return failure(http.StatusNotAcceptable, "INVALID_VERSION_DATE", "Invalid accept header or version date.")
	}
	settings := s.settings.Load()
	over := settings.HonourSunset && !found.sunset.IsZero() && !s.clock.now().Before(found.sunset)
	if over || slices.Contains(settings.Removed[x.op.id], found.date) {
		f := failure(http.StatusGone, "VERSION_GONE", "Version %s of %s is no longer available.", found.date, x.op.path).(*apiError)
		f.parameters = []any{}
		return f
	}
	if !found.sunset.IsZero() {
		h.Set("Deprecation", deprecationField)
		h.Set("Sunset", sunsetField)
	}
	x.version = found.date
	return nil
}

// acceptedDate returns the date of the first versioned media type in the Accept fields, or
// "". It passes over preview and upcoming versions: they must match exactly, and no operation
// here has one.
func acceptedDate(fields []string) string {
	for _, field := range fields {
		for element := range strings.SplitSeq(field, ",") {
			mediaType, _, _ := strings.Cut(element, ";")
			if date, ok := vendorVersion(strings.TrimSpace(mediaType)); ok {
				if _, err := time.Parse(time.DateOnly, date); err == nil {
					return date
				}
			}
		}
	}
	return ""
}

// vendorVersion returns D of application/vnd.atlas.D+json.
func vendorVersion(mediaType string) (string, bool) {
	rest, ok := strings.CutPrefix(strings.ToLower(mediaType), "application/vnd.atlas.")
	if !ok {
		return "", false
	}
	return strings.CutSuffix(rest, "+json")
}

// acceptedContent reports whether content of a type is read: plain JSON, or a versioned
// type with any date.
func acceptedContent(contentType string) bool {
	mediaType, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return false
	}
	_, vendor := vendorVersion(mediaType)
	return vendor || mediaType == "application/json"
}

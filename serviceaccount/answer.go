package serviceaccount

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"atlas-export-gateway/internal/outbound"
)

// An Answer is what the token endpoint answered in the place of a token.
type Answer struct {
	// Status is the status of the answer; 0 if there was none.
	Status int
	// Code is the error of the answer, if it is one of RFC 6749, section 5.2, such as invalid_client.
	Code string
	// Description is the sentence of the answer for people, up to 500 bytes: its error_description,
	// or the detail of Atlas's own form. It is text of a server, which may hold any character, and
	// is not in the text of an error. It is empty if it repeats the credential.
	Description string
	// RetryAfter is how long the answer asks to wait, an hour at most; 0 if it does not ask.
	RetryAfter time.Duration
}

// maxDescription bounds a description, in bytes.
const maxDescription = 500

// codes are those of RFC 6749, section 5.2. Others are not repeated: the server may send any text.
var codes = []string{"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type", "invalid_scope"}

// readAnswer reads the answer to a request for a token, which was no token.
func readAnswer(response *http.Response, sent Credential, now time.Time) Answer {
	a := Answer{Status: response.StatusCode, RetryAfter: min(outbound.RetryAfter(response.Header, now), time.Hour)}
	content, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	if err != nil {
		return a
	}
	var members struct {
		Error       any    `json:"error"` // a number in Atlas's own form
		Description string `json:"error_description"`
		Detail      string `json:"detail"`
	}
	if json.Unmarshal(content, &members) != nil {
		return a
	}
	if code, ok := members.Error.(string); ok && slices.Contains(codes, code) {
		a.Code = code
	}
	if a.Description = members.Description; a.Description == "" {
		a.Description = members.Detail
	}
	if repeats(a.Description, sent) {
		a.Description = ""
	}
	if len(a.Description) > maxDescription {
		a.Description = a.Description[:maxDescription]
	}
	a.Description = strings.ToValidUTF8(a.Description, "")
	return a
}

// repeats reports whether a text repeats the credential that was sent, as it is or encoded.
func repeats(text string, sent Credential) bool {
	secret := sent.ClientSecret.Reveal()
	basic := base64.StdEncoding.EncodeToString([]byte(sent.ClientID + ":" + secret))
	return strings.Contains(text, secret) || strings.Contains(text, basic)
}

package client

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"atlas-export-gateway/bearertoken"
	"atlas-export-gateway/digestauth"
	"atlas-export-gateway/gen"
	"atlas-export-gateway/internal/outbound"
	"atlas-export-gateway/serviceaccount"
)

// answered notes the status and header of an answer.
func (e *Error) answered(status int, header http.Header) {
	e.Status = status
	e.Code = header.Get("X-Error-Code")
	e.GatewayKind = header.Get("Gateway-Error")
	e.Outcome = Outcome(header.Get("Gateway-Outcome"))
	e.RequestID = header.Get("Gateway-Request-Id")
	e.RetryAfter = outbound.RetryAfter(header, time.Now())
	switch {
	case e.GatewayKind == "no_credential": // until the gateway's configuration changes
	case e.rateLimited():
		e.transient = true
	default:
		switch status {
		case http.StatusRequestTimeout, http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			e.transient = true
		}
	}
}

var errNotAPIError = errors.New("the answer's content is not Atlas's")

// parse notes what the content of an answer says about the error.
func (e *Error) parse(body []byte) error {
	var content gen.APIError
	if err := json.Unmarshal(body, &content); err != nil || content.ErrorCode == "" {
		return errNotAPIError
	}
	e.Code = content.ErrorCode
	e.transient = e.transient || e.rateLimited()
	if content.Detail != nil {
		e.Detail = *content.Detail
	}
	if content.Parameters != nil {
		for _, p := range *content.Parameters {
			e.Parameters = append(e.Parameters, fmt.Sprint(p))
		}
	}
	if d := content.BadRequestDetail; d != nil && d.Fields != nil {
		for _, field := range *d.Fields {
			e.Violations = append(e.Violations, Violation{Field: orZero(field.Field), Description: orZero(field.Description)})
		}
	}
	return nil
}

func orZero[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// unanswered is the error of a try that got no answer.
func unanswered(operation string, err error) *Error {
	e := &Error{Operation: operation, Err: err}
	var (
		refused     *beforeSendError
		origin      *outbound.OriginError
		key         *digestauth.CredentialError
		account     *serviceaccount.CredentialError
		source      *bearertoken.SourceError
		probe       *digestauth.ProbeError
		token       *serviceaccount.TokenError
		certificate *tls.CertificateVerificationError
	)
	switch {
	case errors.As(err, &refused):
		e.Err = refused.error
	case errors.As(err, &key), errors.As(err, &source):
		e.Status = http.StatusUnauthorized
	case errors.As(err, &account):
		e.Status, e.Detail, e.RetryAfter = http.StatusUnauthorized, account.Description, account.RetryAfter
	case errors.As(err, &probe):
		e.answered(probe.Status, probe.Header)
	case errors.As(err, &token):
		e.answered(token.Status, nil)
		e.Detail, e.RetryAfter = token.Description, token.RetryAfter
		e.transient = e.transient || token.Status < 400
	case certificateRefused(err):
		e.unread = true
	case errors.As(err, &origin), errors.As(err, &certificate), errors.Is(err, outbound.ErrBodyTooLarge):
	default:
		e.transient = true
	}
	return e
}

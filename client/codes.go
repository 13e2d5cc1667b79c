package client

// kindsOfCodes are the errorCodes of Atlas whose kind is another than that of the status they come
// with. They are from Atlas's published list; the access lists have newer names and older ones.
var kindsOfCodes = map[string]error{
	// The credential is good.
	"NOT_IN_GROUP":                  ErrForbidden, // 401
	"USER_UNAUTHORIZED":             ErrForbidden, // 401 or 403
	"USER_CANNOT_ACCESS_GROUP":      ErrForbidden, // 401
	"USER_CANNOT_ACCESS_ORG":        ErrForbidden, // 401
	"TENANT_SNAPSHOT_ACCESS_DENIED": ErrForbidden, // 401
	"ACCOUNT_SUSPENDED":             ErrForbidden, // 402
	"NO_PAYMENT_INFORMATION_FOUND":  ErrForbidden, // 402
	"IP_ADDRESS_NOT_ON_ACCESS_LIST": ErrForbidden,
	"IP_ADDRESS_NOT_ON_WHITELIST":   ErrForbidden,
	"ORG_REQUIRES_ACCESS_LIST":      ErrForbidden,
	"ORG_REQUIRES_WHITELIST":        ErrForbidden,
	"RESOURCE_REQUIRES_ACCESS_LIST": ErrForbidden,
	"RESOURCE_REQUIRES_WHITELIST":   ErrForbidden,
	"GLOBAL_USER_OUTSIDE_SUBNET":    ErrForbidden,

	"EXPORT_BUCKET_DELETE_FAILED_BUCKET_IN_USE": ErrConflict, // 400
	"UNFINISHED_ON_DEMAND_SNAPSHOT":             ErrConflict, // 400
}

// forbidden reports whether an errorCode says that a good credential is not allowed to do this.
func forbidden(code string) bool { return kindsOfCodes[code] == ErrForbidden }

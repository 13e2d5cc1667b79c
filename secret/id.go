package secret

import "regexp"

// OtherID stands for an id that [ShowID] does not show.
const OtherID = "other"

// ids are the forms of the public halves of keys: those of Atlas's API keys and service accounts,
// and those that the gateway issues. No private half has one of these forms.
var ids = regexp.MustCompile(`^([a-z]{8}|mdb_sa_id_[0-9a-f]{1,32}|agw[a-z0-9]{1,24}|agw_id_[a-z0-9]{1,32})$`)

// ShowID returns the public half of a key, a public key or a client id, for a log or a message. A
// person may put the private half in its place, or any text. Therefore ShowID returns [OtherID]
// for what does not have the form of a public half, of at most 42 letters, digits and
// underscores.
func ShowID(id string) string {
	if ids.MatchString(id) {
		return id
	}
	return OtherID
}

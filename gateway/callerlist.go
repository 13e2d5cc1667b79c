package gateway

import (
	"net/http"
	"time"
)

// CallerList is what GET /callers answers: the callers of the configuration in force. It holds no
// secret.
type CallerList struct {
	// UsesKept is "journal" where the journal keeps when keys were last used, and "memory" where only
	// this process knows, since its start.
	UsesKept string         `json:"usesKept"`
	Callers  []ListedCaller `json:"callers"`
}

// ListedCaller is a caller and its keys.
type ListedCaller struct {
	Name     string `json:"name"`
	Disabled bool   `json:"disabled"`
	// SourceNetworks are the networks that the caller may call from; none stands for any.
	SourceNetworks []string    `json:"sourceNetworks"`
	Keys           []ListedKey `json:"keys"`
}

// ListedKey is a key of a caller.
type ListedKey struct {
	// Form and Key are as the log has them. But Form is digest also for a key pair that is used by
	// Basic, and the Key of an identity (jwt) has eight digits of a hash of its claims, not a
	// subject.
	Form string `json:"form"`
	Key  string `json:"key"`
	// Setting is the key's place in the configuration, such as callers.list[0].tokens[1].
	Setting string `json:"setting"`
	// NotAfter is when the key ends; null where it has no end.
	NotAfter *time.Time `json:"notAfter"`
	// Disabled says that the key itself is disabled.
	Disabled bool `json:"disabled"`
	// LastUsed is when the key was last used, to the second; null where no use is known. Uses are
	// known from Since on.
	LastUsed *time.Time `json:"lastUsed"`
	Since    time.Time  `json:"since"`
}

// manageCallers adds GET /callers.
func (g *Gateway) manageCallers(mux *http.ServeMux) {
	mux.HandleFunc("GET /callers", func(w http.ResponseWriter, r *http.Request) { answerOperator(w, g.callerList(), nil) })
}

func (g *Gateway) callerList() CallerList {
	list := CallerList{UsesKept: "memory", Callers: []ListedCaller{}}
	if g.journal != nil {
		list.UsesKept = "journal"
	}
	known := func(at time.Time) *time.Time {
		if at.IsZero() {
			return nil
		}
		at = at.UTC()
		return &at
	}
	for _, caller := range g.settings.Load().authenticator.List() {
		listed := ListedCaller{Name: caller.Name, Disabled: caller.Disabled, SourceNetworks: []string{}, Keys: []ListedKey{}}
		for _, network := range caller.SourceNetworks {
			listed.SourceNetworks = append(listed.SourceNetworks, network.String())
		}
		for _, key := range caller.Keys {
			listed.Keys = append(listed.Keys, ListedKey{string(key.Form), key.Key, "callers." + key.Path, known(key.NotAfter), key.Disabled, known(key.LastUsed), key.Since})
		}
		list.Callers = append(list.Callers, listed)
	}
	return list
}

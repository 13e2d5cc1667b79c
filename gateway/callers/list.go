package callers

import (
	"net/netip"
	"sync/atomic"
	"time"
)

// Listed is a caller of the configuration, as operators see it. It holds no secret.
type Listed struct {
	Name     string
	Disabled bool
	// SourceNetworks are the networks that the caller may call from; none stands for any.
	SourceNetworks []netip.Prefix
	Keys           []KeyState
}

// KeyName names a key of the configuration, as log and metrics name it.
type KeyName struct {
	// Caller is the name of the caller.
	Caller string
	// Form is [Digest] for a key pair, also where it is used by Basic, [StaticToken] for a token,
	// [AccessToken] for a service account, [JWT] for an identity, and [Certificate] for a name in
	// client certificates.
	Form Form
	// Key is the Key of a [Caller]; for an identity, its issuer and eight digits of a hash of its
	// claims.
	Key string
}

// KeyState is a key of the configuration, and what is known of its use. It holds no secret.
type KeyState struct {
	KeyName
	// Path is its place in the [Config], such as list[0].tokens[1].
	Path string
	// NotAfter is when the key ends; zero where it has no end.
	NotAfter time.Time
	// Disabled says that the key itself is disabled. Its caller may be, too.
	Disabled bool
	// LastUsed is when the key was last used, to the second, and zero where no use is known. Uses are
	// known from Since on. A [Directory] knows neither.
	LastUsed, Since time.Time
}

// Expired reports whether the key has ended.
func (k *KeyState) Expired(now time.Time) bool { return ended(k.NotAfter, now) }

// Out reports whether none of the caller's keys may be used.
func (l *Listed) Out(now time.Time) bool {
	for i := range l.Keys {
		if k := &l.Keys[i]; !l.Disabled && !k.Disabled && !k.Expired(now) {
			return false
		}
	}
	return true
}

// List returns the callers in the order of the configuration, without the uses of their keys.
func (d *Directory) List() []Listed {
	list := make([]Listed, len(d.owners))
	for i, o := range d.owners {
		list[i] = Listed{Name: o.name, Disabled: o.disabled, SourceNetworks: o.networks, Keys: make([]KeyState, len(o.keys))}
		for j, k := range o.keys {
			list[i].Keys[j] = KeyState{KeyName: k.name(), Path: k.path, NotAfter: k.notAfter, Disabled: k.disabled}
		}
	}
	return list
}

// List returns the callers in the order of the configuration.
func (a *Authenticator) List() []Listed {
	list := a.directory.List()
	for i, o := range a.directory.owners {
		for j, k := range o.keys {
			list[i].Keys[j].LastUsed, list[i].Keys[j].Since = a.uses[k.number].read()
		}
	}
	return list
}

func (k *key) name() KeyName { return KeyName{k.owner.name, k.form, k.id} }

// keyUse is when a key was last used. Keys of the same name share one.
type keyUse struct {
	at    atomic.Int64 // in seconds since 1970; 0 where no use is known
	since atomic.Int64 // from when on uses are known, in seconds since 1970
}

// note notes a use. Most requests of a busy key find the second noted, and write nothing. Where
// the clock was set back, an earlier time takes the place of a later one.
func (u *keyUse) note(now time.Time) {
	if at := now.Unix(); u.at.Load() != at {
		u.at.Store(at)
	}
}

// learn notes a use elsewhere, or before.
func (u *keyUse) learn(last time.Time) {
	for at := last.Unix(); ; {
		was := u.at.Load()
		if was >= at || u.at.CompareAndSwap(was, at) {
			return
		}
	}
}

func (u *keyUse) read() (last, since time.Time) {
	if at := u.at.Load(); at != 0 {
		last = time.Unix(at, 0).UTC()
	}
	return last, time.Unix(u.since.Load(), 0).UTC()
}

// Learn tells m when a key of the configuration in force was last used elsewhere or before, which
// may be never (zero), and since when that is known. It does nothing for another key.
func (m *Memory) Learn(key KeyName, last, since time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	u := m.uses[key]
	if u == nil {
		return
	}
	if !last.IsZero() {
		u.learn(last)
	}
	if at := since.Unix(); at < u.since.Load() {
		u.since.Store(at)
	}
}

// usesFor returns the uses of the keys of a directory, by the key's number. Uses of new keys are
// known from now on.
func (m *Memory) usesFor(d *Directory, now time.Time) []*keyUse {
	m.mu.Lock()
	defer m.mu.Unlock()
	uses, added := make([]*keyUse, len(d.all)), map[KeyName]*keyUse{}
	for i, k := range d.all {
		u := m.uses[k.name()]
		if u == nil {
			u = added[k.name()]
		}
		if u == nil {
			u = &keyUse{}
			u.since.Store(now.Unix())
			added[k.name()] = u
		}
		uses[i] = u
	}
	return uses
}

// keepUses forgets the uses of all other keys than those of an Authenticator. m.mu is held.
func (m *Memory) keepUses(a *Authenticator) {
	m.uses = map[KeyName]*keyUse{}
	for i, k := range a.directory.all {
		m.uses[k.name()] = a.uses[i]
	}
}

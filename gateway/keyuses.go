package gateway

import (
	"context"
	"log/slog"
	"time"

	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/gateway/observe"
	"atlas-export-gateway/store"
)

const (
	// lookEvery is the time between two looks at when callers' keys were used.
	lookEvery = time.Minute
	// lookTime bounds a look, and lastLookTime the one at the end of the process.
	lookTime, lastLookTime = 10 * time.Second, 2 * time.Second
	// noteEvery is the time after which keys are noted in the journal that nobody has used meanwhile,
	// which the journal would forget.
	noteEvery = time.Hour
	// unusedFor is the time after which a key is reported that nobody uses, once in warnEvery.
	unusedFor, warnEvery = 90 * 24 * time.Hour, 24 * time.Hour
)

// keyUses keeps in the journal when callers' keys were last used, which others may note there as
// well, and warns of keys that nobody uses. It works beside the requests, and is for one
// goroutine.
type keyUses struct {
	*Gateway
	noted   time.Time // when all keys were noted
	warned  map[callers.KeyName]time.Time
	failing bool
}

// followKeyUses looks at the uses of keys until stop is called, which looks once more.
func (g *Gateway) followKeyUses(ctx context.Context) (stop func()) {
	ctx = context.WithoutCancel(ctx) // also while it drains
	ending, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		uses := &keyUses{Gateway: g}
		tick := time.NewTicker(g.lookEvery)
		defer tick.Stop()
		for {
			uses.look(ctx, lookTime)
			select {
			case <-tick.C:
			case <-g.reloaded:
			case <-ending:
				uses.look(ctx, lastLookTime)
				return
			}
		}
	}()
	return func() {
		close(ending)
		<-ended
	}
}

// look learns from the journal what others have noted, notes what is new, and warns of keys that
// nobody uses.
func (u *keyUses) look(ctx context.Context, limit time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if u.journal != nil {
		err := u.exchange(ctx)
		switch {
		case err != nil && !u.failing:
			u.log.Warn("when keys of callers were last used is not kept meanwhile", "cause", err.Error())
		case err == nil && u.failing:
			u.log.Info("when keys of callers were last used is kept again")
		}
		u.failing = err != nil
	}
	u.warnOfUnused(ctx)
}

// exchange learns from the journal, and notes what is new.
func (u *keyUses) exchange(ctx context.Context) error {
	known, err := u.journal.KeyUses(ctx)
	if err != nil {
		return err
	}
	now, used := u.now(), map[callers.KeyName]time.Time{}
	for _, k := range known {
		name := callers.KeyName{Caller: k.Caller, Form: callers.Form(k.Form), Key: k.Key}
		if k.Used.After(now.Add(time.Minute)) {
			k.Used = time.Time{} // by a clock that was wrong
		}
		used[name] = k.Used
		u.lasting.memory.Learn(name, k.Used, k.Since)
	}
	all := now.Sub(u.noted).Abs() >= noteEvery
	var fresh []store.KeyUse
	for _, key := range u.keys() {
		if last, ok := used[key.KeyName]; all || !ok || key.LastUsed.After(last) {
			fresh = append(fresh, store.KeyUse{Caller: key.Caller, Form: string(key.Form), Key: key.Key, Since: key.Since, Used: key.LastUsed})
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	if err := u.journal.NoteKeyUses(ctx, fresh); err != nil {
		return err
	}
	if all {
		u.noted = now
	}
	return nil
}

// warnOfUnused warns of each key that could be used and that nobody has used for long, once a day.
func (u *keyUses) warnOfUnused(ctx context.Context) {
	now, warned := u.now(), map[callers.KeyName]time.Time{}
	for _, caller := range u.settings.Load().authenticator.List() {
		for _, key := range caller.Keys {
			last := key.LastUsed
			if last.IsZero() {
				last = key.Since
			}
			if caller.Disabled || key.Disabled || key.Expired(now) || now.Sub(last) < unusedFor {
				continue
			}
			at, ok := u.warned[key.KeyName]
			if !ok || now.Sub(at) >= warnEvery {
				at = now
				u.log.LogAttrs(ctx, slog.LevelWarn, "a caller's key has not been used for long; remove or disable it",
					slog.String("caller", key.Caller), slog.String("form", string(key.Form)), slog.String("key", key.Key),
					slog.Bool("ever_used", !key.LastUsed.IsZero()), slog.Time("since", last), slog.Int("days", int(now.Sub(last)/(24*time.Hour))))
			}
			warned[key.KeyName] = at
		}
	}
	u.warned = warned
}

// keys returns the keys of the configuration in force.
func (g *Gateway) keys() (all []callers.KeyState) {
	for _, caller := range g.settings.Load().authenticator.List() {
		all = append(all, caller.Keys...)
	}
	return all
}

// watchedKeys returns what the metrics say of callers' keys. One that is disabled needs no alert
// before its end.
func (g *Gateway) watchedKeys() (all []observe.Key) {
	for _, caller := range g.settings.Load().authenticator.List() {
		for _, key := range caller.Keys {
			k := observe.Key{Caller: key.Caller, Form: string(key.Form), Key: key.Key, LastUsed: key.LastUsed}
			if !caller.Disabled && !key.Disabled {
				k.NotAfter = key.NotAfter
			}
			all = append(all, k)
		}
	}
	return all
}

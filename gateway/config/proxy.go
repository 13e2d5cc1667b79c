package config

import (
	"strings"

	"atlas-export-gateway/gateway/atlas"
	"atlas-export-gateway/internal/hosts"
	"atlas-export-gateway/internal/outbound"
	"atlas-export-gateway/secret"
)

// proxy checks the proxy that Atlas is reached through, and reads its files; nil stands for none.
func (b *builder) proxy(u Upstream) *atlas.Proxy {
	withUser := u.ProxyUserFile != "" || u.ProxyPasswordFile != ""
	if u.ProxyURL == "" {
		for path, file := range map[string]string{"proxy_user_file": u.ProxyUserFile, "proxy_password_file": u.ProxyPasswordFile, "proxy_ca_file": u.ProxyCAFile} {
			if file != "" {
				b.refuse("upstream."+path, "is for a proxy: set upstream.proxy_url")
			}
		}
		return nil
	}
	origin, err := outbound.ParseOrigin(u.ProxyURL)
	host := origin.URL().Hostname()
	switch {
	case err != nil:
		b.refuse("upstream.proxy_url", "%w", err)
	case hosts.LinkLocal(host):
		b.refuse("upstream.proxy_url", "a link-local address is never a proxy")
	case origin.Scheme() == "http" && withUser && !hosts.Loopback(host):
		b.warn("upstream.proxy_url", "begins with http, so that everyone on the way to the proxy can read its user and password")
	}
	p := &atlas.Proxy{Origin: origin.String()}
	if u.ProxyCAFile != "" && err == nil && origin.Scheme() != "https" {
		b.refuse("upstream.proxy_ca_file", "is for a proxy_url that begins with https://")
	} else if roots, err := certificates(u.ProxyCAFile); err != nil {
		b.refuse("upstream.proxy_ca_file", "%w", err)
	} else {
		p.Roots = roots.Pool()
	}
	if !withUser {
		return p
	}
	if u.ProxyUserFile == "" || u.ProxyPasswordFile == "" {
		b.refuse("upstream.proxy_user_file", "expected both proxy_user_file and proxy_password_file")
		return p
	}
	files := credentialPair{}
	if p.User, err = files.read(u.ProxyUserFile, nil); err != nil {
		b.refuse("upstream.proxy_user_file", "%w", err)
	} else if strings.Contains(p.User, ":") { // RFC 7617, section 2
		b.refuse("upstream.proxy_user_file", "the user holds a colon, which Basic can't send")
	}
	password, err := files.read(u.ProxyPasswordFile, nil)
	if err != nil {
		b.refuse("upstream.proxy_password_file", "%w", err)
	}
	p.Password = secret.New(password)
	b.warnOfMode("upstream.proxy_password_file", u.ProxyPasswordFile)
	return p
}

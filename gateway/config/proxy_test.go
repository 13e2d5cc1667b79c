package config_test

import (
	"path/filepath"
	"strings"
	"testing"

	"atlas-export-gateway/gateway/config"
	"atlas-export-gateway/internal/gatewaytest"
)

// The settings of the proxy, what they amount to, and what is wrong with them.
func TestProxySettings(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		return gatewaytest.WriteFile(t, filepath.Join(dir, name), content)
	}
	user, password, colon := file("user", "gateway\n"), file("password", " c4na7y-password\n"), file("colon", "c4na7y:gateway")
	authority, two := file("ca.pem", gatewaytest.NewAuthority(t).PEM), file("two", "two c4na7y-words")
	both := ", proxy_user_file: " + user + ", proxy_password_file: " + password
	for _, test := range []struct{ settings, want, refused, warned string }{
		{"realm: a", "", "", ""},
		{"proxy_url: http://Proxy.example.com:3128/", "http://proxy.example.com:3128", "", ""},
		{"proxy_url: https://proxy.example.com, proxy_ca_file: " + authority + both, "https://proxy.example.com", "", ""},
		{"proxy_url: http://127.0.0.1:3128" + both, "http://127.0.0.1:3128", "", ""},
		{"proxy_url: http://proxy.example.com:3128" + both, "http://proxy.example.com:3128", "", "upstream.proxy_url: begins with http, so that everyone"},
		{"proxy_url: http://gateway:c4na7y-password@proxy", "", "upstream.proxy_url: holds user information", ""},
		{"proxy_url: proxy:3128", "", "upstream.proxy_url: does not begin with", ""},
		{"proxy_url: socks5://proxy:1080", "", "upstream.proxy_url: does not begin with", ""},
		{"proxy_url: http://169.254.169.254:80", "", "upstream.proxy_url: a link-local address", ""},
		{"proxy_url: http://proxy, proxy_ca_file: " + authority, "", "upstream.proxy_ca_file: is for a proxy_url that begins with https://", ""},
		{"proxy_url: https://proxy, proxy_ca_file: " + user, "", "upstream.proxy_ca_file: the file holds no PEM", ""},
		{"proxy_url: https://proxy, proxy_user_file: " + user, "", "upstream.proxy_user_file: expected both", ""},
		{"proxy_url: https://proxy, proxy_password_file: " + password, "", "upstream.proxy_user_file: expected both", ""},
		{"proxy_url: https://proxy, proxy_user_file: " + colon + ", proxy_password_file: " + password, "", "upstream.proxy_user_file: the user holds a colon", ""},
		{"proxy_url: https://proxy, proxy_user_file: " + user + ", proxy_password_file: " + two, "", "upstream.proxy_password_file: the file", ""},
		{"proxy_url: https://proxy, proxy_user_file: " + user + ", proxy_password_file: " + dir + "/none", "", "upstream.proxy_password_file: ", ""},
		{"proxy_user_file: " + user, "", "upstream.proxy_user_file: is for a proxy: set upstream.proxy_url", ""},
		{"proxy_password_file: " + password, "", "upstream.proxy_password_file: is for a proxy", ""},
		{"proxy_ca_file: " + authority, "", "upstream.proxy_ca_file: is for a proxy", ""},
	} {
		yaml := file("gateway.yaml", "callers: {anonymous: true}\nupstream: {credentials: [{public_key_env: PUBLIC, private_key_env: PRIVATE}], "+test.settings+"}\n")
		parts, err := config.Load(yaml, environ)
		switch {
		case test.refused != "":
			if err == nil || !strings.Contains(err.Error(), yaml+":2: "+test.refused) || strings.Contains(err.Error(), "c4na7y") {
				t.Errorf("%s: %v", test.settings, err)
			}
			continue
		case err != nil:
			t.Errorf("%s: %v", test.settings, err)
			continue
		}
		got := ""
		if proxy := parts.Atlas.Proxy; proxy != nil {
			got = proxy.Origin
			if withUser := strings.Contains(test.settings, both); (proxy.User == "gateway") != withUser || (proxy.Password.Reveal() == "c4na7y-password") != withUser || (proxy.Roots != nil) != strings.Contains(test.settings, "ca_file") {
				t.Errorf("%s: %+v", test.settings, proxy)
			}
		}
		warned := len(parts.Warnings) == 1 && strings.Contains(parts.Warnings[0].Error(), test.warned)
		if got != test.want || warned != (test.warned != "") {
			t.Errorf("%s: %q, %v", test.settings, got, parts.Warnings)
		}
	}
}

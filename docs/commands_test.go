//go:build unix

package docs_test

import (
	"slices"
	"strings"
	"testing"

	"atlas-export-gateway/internal/pages"
	"atlas-export-gateway/sim"
)

// contains fails the test where a text is not in the output.
func contains(t *testing.T, output string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(output, text) {
			t.Errorf("%q is not in\n%s", text, output)
		}
	}
}

// shown returns the first output that a page shows below a heading.
func shown(t *testing.T, name, heading string) string {
	t.Helper()
	p, err := pages.Read(root, name)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range p.Blocks {
		if b.Language == "" && slices.Contains(b.Headings, heading) {
			return b.Text
		}
	}
	t.Fatalf("%s shows no output below %s", name, heading)
	return ""
}

// The three steps of the README, with the simulation in the place of Atlas.
func TestInFrontOfAtlas(t *testing.T) {
	t.Parallel()
	atlas := sim.Start(t, sim.Config{})
	c := newCheckout(t, "ATLAS_GATEWAY_UPSTREAM_BASE_URL="+atlas.URL())
	first := c.open(t)
	first.paste("README.md#in-front-of-the-real-atlas sh 1")
	first.answer("public key: ", sim.PublicKey)
	first.answer("private key: ", sim.PrivateKey)
	if printed := first.ends(0); strings.Contains(printed, sim.PrivateKey) {
		t.Error("the private key shows on the terminal")
	}
	first.write("stty -echo")
	first.paste("README.md#in-front-of-the-real-atlas sh 2")
	first.await(`^the configuration is good: `)
	first.await(`^\{"listener":`)

	second := c.open(t)
	second.paste("README.md#in-front-of-the-real-atlas sh 3")
	second.answer("project id: ", sim.GroupID)
	contains(t, second.ends(0), `"totalCount": 0`)

	first.interrupt()
	first.ends(0)
	if counts := atlas.Counts(); counts.ByOperation["listExportBuckets"] == 0 {
		t.Errorf("Atlas received %+v", counts)
	}
}

// The first screen of the operators' page, and the signing key.
func TestOperate(t *testing.T) {
	t.Parallel()
	atlas := sim.Start(t, sim.Config{})
	c := newCheckout(t, "ATLAS_GATEWAY_UPSTREAM_BASE_URL="+atlas.URL(),
		"MONGODB_ATLAS_PUBLIC_API_KEY="+sim.PublicKey, "MONGODB_ATLAS_PRIVATE_API_KEY="+sim.PrivateKey)
	first, second := c.open(t), c.open(t)
	first.paste("docs/operate.md#operate-the-gateway sh 1")
	first.await(`^\{"listener":`)
	second.paste("docs/operate.md#operate-the-gateway sh 2")
	contains(t, second.ends(0), "ready\n", `atlas_gateway_requests_total{operation="createBackupExport",status="200"} 0`)
	first.interrupt()
	first.ends(0)

	second.paste("docs/operate.md#beyond-loopback sh 1")
	contains(t, second.ends(0), "signing.key holds a new signing key")
}

// A caller with a key of its own, from the key to the refusal.
func TestCallers(t *testing.T) {
	t.Parallel()
	c := newCheckout(t)
	first, second := c.open(t), c.open(t)
	first.paste("docs/callers.md#try-it-without-an-account sh 1")
	contains(t, first.ends(0), "public key: agw", "- name: nightly\n")
	first.paste("docs/callers.md#try-it-without-an-account sh 2")
	first.ends(0)
	first.write("set +e") // the second explain ends with 4
	first.paste("docs/callers.md#try-it-without-an-account sh 3")
	printed := first.await(`^\{"listener":`)
	contains(t, printed, "the configuration is good", "grants[0] allows it\n")
	contains(t, printed, shown(t, "docs/callers.md", "try-it-without-an-account"))

	second.paste("docs/callers.md#try-it-without-an-account sh 4")
	contains(t, second.ends(0), `"totalCount": 0`, `"error": 403`, "no grant of caller nightly allows v1ListBackupExports")
	second.write("export MONGODB_ATLAS_PUBLIC_API_KEY=${pair%:*} MONGODB_ATLAS_PRIVATE_API_KEY=${pair#*:}" +
		c.ports.Replace(" MONGODB_ATLAS_BASE_URL=http://127.0.0.1:8080 GROUP="+sim.GroupID+" CLUSTER="+sim.OrdersCluster))
	second.paste("docs/callers.md#call-the-gateway sh 1")
	contains(t, second.ends(0), `"totalCount": 0`)

	first.interrupt()
	first.ends(0)
	// The shell tells the simulation to end and does not wait for it.
	second.write("i=0; while [ $i -lt 100 ] && curl -s -o /dev/null " + c.ports.Replace("http://127.0.0.1:27081/counts") + "; do i=$((i+1)); sleep 0.1; done; [ $i -lt 100 ] || echo it runs")
	if printed := second.ends(0); printed != "" {
		t.Errorf("the simulation goes on: %s", printed)
	}
}

// The simulation, and how it is made to fail.
func TestSimulation(t *testing.T) {
	t.Parallel()
	c := newCheckout(t)
	first, second := c.open(t), c.open(t)
	first.paste("docs/sim.md#the-simulated-atlas sh 1")
	first.await(`^\{"api":`)
	second.paste("docs/sim.md#the-simulated-atlas sh 2")
	contains(t, second.ends(0), `"totalCount": 0`, `"requests": 2`)
	second.paste("docs/sim.md#snapshots sh 1")
	contains(t, second.ends(0), `"status": "failed"`, `"snapshotType": "onDemand"`, `"endsAs": "completed"`)
	second.paste("docs/sim.md#make-it-fail sh 1")
	contains(t, second.ends(0), `"kind": "unavailable"`, `"refuse": 0.05`, `"PUT /faults"`)
	// A nonce in twenty would be one too many for this test.
	second.write(c.ports.Replace(`curl -s -X PATCH -d '{"nonces": {"refuse": 0}}' http://127.0.0.1:27081/settings`))
	second.ends(0)
	second.paste("docs/sim.md#the-simulated-atlas sh 2")
	contains(t, second.ends(0), "<html", `"503": 1`)
	first.interrupt()
	first.ends(0)
}

// Package helm_test checks the Helm chart in atlas-gateway/: Helm's own packages lint and render
// it, the types of Kubernetes take what it renders, and the gateway takes its configuration.
package helm_test

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"
)

const (
	chart    = "atlas-gateway"
	manifest = "../kubernetes.yaml"
)

var update = flag.Bool("update", false, "write deploy/kubernetes.yaml, and the chart's copy of the rules")

// files are the values that the chart is rendered with.
var files = []string{"example.yaml", "testdata/one.yaml", "testdata/plain.yaml"}

// valuesOf reads values from a file, and then from texts that change them.
func valuesOf(t *testing.T, file string, changes ...string) map[string]any {
	t.Helper()
	values := map[string]any{}
	for i, text := range append([]string{read(t, file)}, changes...) {
		var more map[string]any
		if err := yaml.Unmarshal([]byte(text), &more); err != nil {
			t.Fatalf("%s, %d: %v", file, i, err)
		}
		values = loader.MergeMaps(values, more)
	}
	return values
}

func read(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// render renders the chart as helm template does. Its result has the templates' names.
func render(t *testing.T, values map[string]any, by string) (map[string]string, error) {
	t.Helper()
	loaded, err := loader.Load(chart)
	if err != nil {
		t.Fatal(err)
	}
	complete, err := util.ToRenderValues(loaded, values, common.ReleaseOptions{Name: chart, Namespace: "exports", Revision: 1, IsInstall: true}, nil)
	if err != nil {
		return nil, err
	}
	complete["Release"].(map[string]any)["Service"] = by
	return engine.Render(loaded, complete)
}

// An installation is what the chart makes, in the types of Kubernetes.
type installation struct {
	deployment apps.Deployment
	config     core.ConfigMap
	services   map[string]core.Service
	account    core.ServiceAccount
	claims     map[string]core.PersistentVolumeClaim
	budget     policy.PodDisruptionBudget
	network    networking.NetworkPolicy
	monitor    monitoring.ServiceMonitor
	rules      monitoring.PrometheusRule

	kinds []string // in the order of the names
	notes string
}

// install renders the chart, and decodes strictly what it has rendered.
func install(t *testing.T, values map[string]any) (i installation) {
	t.Helper()
	rendered, err := render(t, values, "Helm")
	if err != nil {
		t.Fatal(err)
	}
	i.services, i.claims = map[string]core.Service{}, map[string]core.PersistentVolumeClaim{}
	for name, content := range rendered {
		if strings.HasSuffix(name, ".txt") {
			i.notes = content
			continue
		}
		for _, document := range documents(content) {
			var header struct{ Kind string }
			if err := yaml.Unmarshal([]byte(document), &header); err != nil {
				t.Fatalf("%s: %v\n%s", name, err, document)
			}
			var service core.Service
			var claim core.PersistentVolumeClaim
			into, ok := map[string]any{
				"Deployment": &i.deployment, "ConfigMap": &i.config, "Service": &service, "ServiceAccount": &i.account,
				"PersistentVolumeClaim": &claim, "PodDisruptionBudget": &i.budget, "NetworkPolicy": &i.network,
				"ServiceMonitor": &i.monitor, "PrometheusRule": &i.rules,
			}[header.Kind]
			if !ok {
				t.Fatalf("%s has an unknown kind: %s", name, header.Kind)
			}
			if err := yaml.UnmarshalStrict([]byte(document), into); err != nil {
				t.Errorf("%s: %v\n%s", name, err, document)
			}
			i.services[service.Name], i.claims[claim.Name] = service, claim
			i.kinds = append(i.kinds, header.Kind)
		}
	}
	delete(i.services, "")
	delete(i.claims, "")
	slices.Sort(i.kinds)
	return i
}

// documents are those of a stream of YAML that have content.
func documents(stream string) []string {
	return slices.DeleteFunc(regexp.MustCompile(`(?m)^---$`).Split(stream, -1), func(document string) bool {
		return regexp.MustCompile(`(?m)^\s*(#.*)?$`).ReplaceAllString(document, "") == ""
	})
}

// pod is the specification of the pods, with its only container.
func (i installation) pod(t *testing.T) (core.PodSpec, core.Container) {
	t.Helper()
	spec := i.deployment.Spec.Template.Spec
	if len(spec.Containers) != 1 {
		t.Fatalf("a pod has %d containers", len(spec.Containers))
	}
	return spec, spec.Containers[0]
}

// helm lint says nothing, except that there is no icon.
func TestLint(t *testing.T) {
	t.Parallel()
	values := map[string]map[string]any{"values.yaml": {}}
	for _, file := range files {
		values[file] = valuesOf(t, file)
	}
	for file, values := range values {
		for _, message := range lint.RunAll(chart, values, "exports").Messages {
			if message.Severity > support.InfoSev || !strings.Contains(message.Error(), "icon is recommended") {
				t.Errorf("%s: %v", file, message)
			}
		}
	}
}

// The chart makes what the values ask for, and nothing else.
func TestKinds(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]string{
		"example.yaml":        "ConfigMap Deployment NetworkPolicy PodDisruptionBudget Service ServiceAccount",
		"testdata/one.yaml":   "ConfigMap Deployment NetworkPolicy PersistentVolumeClaim PersistentVolumeClaim PrometheusRule Service Service ServiceAccount ServiceMonitor",
		"testdata/plain.yaml": "ConfigMap Deployment Service",
	} {
		i := install(t, valuesOf(t, file))
		if got := strings.Join(i.kinds, " "); got != want {
			t.Errorf("%s makes %s, want %s", file, got, want)
		}
		if !strings.Contains(i.notes, "rollout status deployment/atlas-gateway\n") || strings.Contains(i.notes, "Keep the claim") != (len(i.claims) > 0) || strings.Contains(i.notes, "The audit stream is in") != (len(i.claims) > 0) {
			t.Errorf("%s: %s", file, i.notes)
		}
	}
}

// The chart refuses what could not work, and says why.
func TestRefused(t *testing.T) {
	t.Parallel()
	for change, want := range map[string]string{
		"image: {repository: ''}":                                 "image.repository is required: the project has no public registry, make image builds an image for yours",
		"image: {tag: ''}":                                        "image.tag or image.digest is required",
		"config: {creates: {journal: file}}":                      "replicas: 3 replicas with a journal in a file each may send the same create to Atlas. Set config.creates.journal: postgres",
		"config: {creates: {journal: off}}":                       "at '/config/creates/journal': got boolean, want string",
		"config: {reads: {share: on}}":                            "at '/config/reads/share'",
		"config: {listener: {address: '127.0.0.1:8443'}}":         "config.listener.address: 127.0.0.1:8443 is reached from nowhere outside of the pod",
		"config: {management: {address: 'localhost:27090'}}":      "config.management.address: localhost:27090 is reached from nowhere",
		"config: {management: {address: ''}}":                     "config.management.address must end in a port",
		"replicas: 1\nconfig: {creates: {file: /tmp/creates.db}}": "config.creates.file must be below /var/lib/atlas-gateway",
		"config: {audit: {file: /tmp/audit.jsonl}}":               "config.audit.file must be stderr, or below /var/log/atlas-gateway",
		"config: {audit: {file: /var/log/atlas-gateway/a.jsonl}}": "config.audit.file: pods run at the same time, so that the volume needs audit.accessMode: ReadWriteMany",
		"config: {audit: {required: 'true'}}":                     "at '/config/audit/required': got string, want boolean",
		"audit: {accessMode: ReadOnlyMany}":                       "at '/audit/accessMode'",
		"files: [{secret: {name: gateway-keys, value: c4na7y}}]":  "at '/files/0'",
		"files: [{serviceAccountToken: {path: token}}]":           "at '/files/0'",
		"replica: 2":                           "additional properties 'replica' not allowed",
		"networkPolicy: {caller: []}":          "additional properties 'caller' not allowed",
		"journal: {accessMode: ReadWriteMany}": "at '/journal/accessMode'",
	} {
		if _, err := render(t, valuesOf(t, "example.yaml", change), "Helm"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", change, err, want)
		}
	}
}

// deploy/kubernetes.yaml is what the chart makes of example.yaml, in the order of the names.
func TestManifest(t *testing.T) {
	t.Parallel()
	rendered, err := render(t, valuesOf(t, "example.yaml"), "kubectl")
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	want.WriteString(`# The gateway in Kubernetes, for who has no Helm: three replicas that share a journal in PostgreSQL.
# The chart in helm/atlas-gateway makes it of helm/example.yaml (make helm UPDATE=1), and explains
# it. Put your image, configuration and namespaces in, and make the Secrets, before
#
#   kubectl -n exports apply -f deploy/kubernetes.yaml
#
# A change of the ConfigMap is read in place. A setting that takes a restart also needs
#
#   kubectl -n exports rollout restart deployment/atlas-gateway
`)
	for _, name := range slices.Sorted(maps.Keys(rendered)) {
		if strings.HasSuffix(name, ".txt") {
			continue
		}
		for _, document := range documents(rendered[name]) {
			want.WriteString("---\n" + strings.TrimSpace(document) + "\n")
		}
	}
	same(t, manifest, want.String())
}

// The chart has the rules that promtool's tests are about.
func TestRules(t *testing.T) {
	t.Parallel()
	rules := read(t, "../prometheus/rules.yaml")
	same(t, filepath.Join(chart, "files", "rules.yaml"), rules)
	var want monitoring.PrometheusRuleSpec
	if err := yaml.UnmarshalStrict([]byte(strings.ReplaceAll(rules, "docs/operate.md#", "https://example.com/operate.html#")), &want); err != nil {
		t.Fatal(err)
	}
	got := install(t, valuesOf(t, "testdata/one.yaml")).rules.Spec
	if len(want.Groups) == 0 || len(want.Groups[0].Rules) < 20 || text(t, got) != text(t, want) {
		t.Errorf("got\n%s\nwant\n%s", text(t, got), text(t, want))
	}
}

// same fails if a file has other content, or writes it with -update.
func same(t *testing.T, file, want string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := read(t, file); got != want {
		t.Errorf("%s is not up to date: make helm UPDATE=1", file)
	}
}

func text(t *testing.T, value any) string {
	t.Helper()
	content, err := yaml.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

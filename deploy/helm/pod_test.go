package helm_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	"k8s.io/pod-security-admission/api"
	admission "k8s.io/pod-security-admission/policy"
)

// The admission of Kubernetes takes the pods where its level is restricted. They have no token of
// the cluster's, and no variables of other Services.
func TestPodSecurity(t *testing.T) {
	t.Parallel()
	evaluator, err := admission.NewEvaluator(admission.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		i := install(t, valuesOf(t, file))
		spec, container := i.pod(t)
		restricted := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
		result := admission.AggregateCheckResults(evaluator.EvaluatePod(restricted, &i.deployment.Spec.Template.ObjectMeta, &spec))
		if !result.Allowed {
			t.Errorf("%s: %s", file, result.ForbiddenDetail())
		}
		if security := container.SecurityContext; security.ReadOnlyRootFilesystem == nil || !*security.ReadOnlyRootFilesystem {
			t.Errorf("%s: the root can be written", file)
		}
		if user := spec.SecurityContext.RunAsUser; user == nil || *user != 65532 {
			t.Errorf("%s: the user is %v", file, user)
		}
		no := func(what string, value *bool) {
			if value == nil || *value {
				t.Errorf("%s: %s is not false", file, what)
			}
		}
		no("automountServiceAccountToken of the pod", spec.AutomountServiceAccountToken)
		no("enableServiceLinks", spec.EnableServiceLinks)
		if i.account.Name != "" {
			no("automountServiceAccountToken of the account", i.account.AutomountServiceAccountToken)
		}
		if want := map[string]string{"testdata/plain.yaml": "existing"}[file]; want != "" && spec.ServiceAccountName != want || want == "" && spec.ServiceAccountName != i.account.Name {
			t.Errorf("%s: the account is %s", file, spec.ServiceAccountName)
		}
	}
}

// Files and configuration are one volume, which is swapped as a whole. Only the gateway's user
// reads its files. No file is mounted by itself: such a one is never replaced. A variable is
// there only where a folder has the pod's name.
func TestVolumes(t *testing.T) {
	t.Parallel()
	for _, file := range files {
		i := install(t, valuesOf(t, file))
		spec, container := i.pod(t)
		projected := spec.Volumes[0].Projected
		if projected == nil || projected.Sources[0].ConfigMap.Name != i.config.Name || len(projected.Sources) < 2 || *projected.DefaultMode != 0o440 {
			t.Errorf("%s: %s", file, text(t, spec.Volumes))
		}
		mounts := map[string]string{}
		for _, mount := range container.VolumeMounts {
			mounts[mount.Name] = mount.MountPath + mount.SubPath
		}
		want := "map[configuration:/etc/atlas-gateway]"
		if file == "testdata/one.yaml" {
			want = "map[audit:/var/log/atlas-gateway configuration:/etc/atlas-gateway journal:/var/lib/atlas-gateway]"
		}
		if fmt.Sprint(mounts) != want || len(spec.Volumes) != len(mounts) {
			t.Errorf("%s has %v, want %s", file, mounts, want)
		}
		if len(container.Env) != len(i.claims)/2 {
			t.Errorf("%s has the variables %s", file, text(t, container.Env))
		}
	}
}

// The journal and the audit stream each have a claim that stays when the release is removed, or one
// that is there already. Pods that run at the same time have folders of their own in the stream's.
func TestClaims(t *testing.T) {
	t.Parallel()
	claimsOf := func(file, change string) (names, modes []string) {
		i := install(t, valuesOf(t, file, change))
		spec, container := i.pod(t)
		for _, volume := range spec.Volumes[1:] {
			names = append(names, volume.PersistentVolumeClaim.ClaimName)
			if claim, ok := i.claims[volume.PersistentVolumeClaim.ClaimName]; ok {
				modes = append(modes, fmt.Sprint(claim.Spec.AccessModes, claim.Spec.Resources.Requests.Storage()))
				if claim.Annotations["helm.sh/resource-policy"] != "keep" {
					t.Errorf("%s, %s: %s", file, change, text(t, claim))
				}
			}
			if volume.Name != "audit" {
				continue
			}
			mount := container.VolumeMounts[len(container.VolumeMounts)-1]
			if variable := container.Env[0]; mount.SubPathExpr != "$("+variable.Name+")" || variable.ValueFrom.FieldRef.FieldPath != "metadata.name" {
				t.Errorf("%s, %s: %s", file, change, text(t, container))
			}
		}
		if len(modes) != len(i.claims) {
			t.Errorf("%s, %s: claims that no pod has: %s", file, change, text(t, i.claims))
		}
		return names, modes
	}
	const inFile = "config: {audit: {file: /var/log/atlas-gateway/a.jsonl}}\n"
	for _, c := range []struct{ file, change, want string }{
		{"testdata/one.yaml", "", "[atlas-gateway-journal atlas-gateway-audit] [[ReadWriteOncePod] 2Gi [ReadWriteMany] 10Gi]"},
		{"testdata/one.yaml", "journal: {existingClaim: mine}\naudit: {existingClaim: ours}", "[mine ours] []"},
		{"testdata/one.yaml", "audit: {size: 5Gi, accessMode: ReadWriteOnce}", "[atlas-gateway-journal atlas-gateway-audit] [[ReadWriteOncePod] 2Gi [ReadWriteOnce] 5Gi]"},
		{"testdata/one.yaml", "config: {audit: {file: ''}}", "[atlas-gateway-journal] [[ReadWriteOncePod] 2Gi]"},
		{"testdata/one.yaml", "config: {audit: {file: '-'}}", "[atlas-gateway-journal] [[ReadWriteOncePod] 2Gi]"},
		{"example.yaml", "", "[] []"},
		{"example.yaml", inFile + "audit: {accessMode: ReadWriteMany}", "[atlas-gateway-audit] [[ReadWriteMany] 1Gi]"},
		{"example.yaml", inFile + "audit: {existingClaim: ours}", "[ours] []"},
	} {
		names, modes := claimsOf(c.file, c.change)
		if got := fmt.Sprint(names, " ", modes); got != c.want {
			t.Errorf("%s, %s: %s, want %s", c.file, c.change, got, c.want)
		}
	}
}

// No replica is taken away before the next one is ready, unless they can't both have the journal.
// The pods get the time that a shutdown may take.
func TestReplacement(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		file, change string
		strategy     apps.DeploymentStrategyType
		grace        int64
	}{
		{"example.yaml", "", apps.RollingUpdateDeploymentStrategyType, 10 + 75 + 5},
		{"testdata/plain.yaml", "config: {timeouts: {drain: 1500ms, shutdown: 1h2m}}", apps.RollingUpdateDeploymentStrategyType, 2 + 3720 + 5},
		{"testdata/one.yaml", "", apps.RecreateDeploymentStrategyType, 10 + 90 + 5},
		{"testdata/one.yaml", "config: {timeouts: null}", apps.RecreateDeploymentStrategyType, 3 + 75 + 5},
		{"testdata/one.yaml", "config: {timeouts: {drain: 0s, shutdown: ''}}", apps.RecreateDeploymentStrategyType, 3 + 75 + 5},
	} {
		i := install(t, valuesOf(t, c.file, c.change))
		spec, container := i.pod(t)
		strategy := i.deployment.Spec.Strategy
		if strategy.Type != c.strategy || *spec.TerminationGracePeriodSeconds != c.grace {
			t.Errorf("%s, %s: %s, %d s", c.file, c.change, strategy.Type, *spec.TerminationGracePeriodSeconds)
		}
		if rolling := strategy.RollingUpdate; (rolling != nil) != (c.strategy == apps.RollingUpdateDeploymentStrategyType) || rolling != nil && rolling.MaxUnavailable.String() != "0" {
			t.Errorf("%s: %s", c.file, text(t, strategy))
		}
		for path, probe := range map[string]*core.Probe{"/healthz": container.LivenessProbe, "/readyz": container.ReadinessProbe} {
			if probe.HTTPGet.Path != path || probe.HTTPGet.Port.String() != "management" {
				t.Errorf("%s: %s", c.file, text(t, probe))
			}
		}
	}
	for key, want := range map[string]string{"drain": "3s", "shutdown": "75s"} { // the defaults that the chart knows, too
		if !regexp.MustCompile(`(?m)^  ` + key + `: ` + want + ` `).MatchString(read(t, "../../cmd/atlas-gateway/atlas-gateway.yaml")) {
			t.Errorf("the gateway's default for %s is not %s", key, want)
		}
	}
	if budget := install(t, valuesOf(t, "example.yaml")).budget.Spec; budget.MaxUnavailable.String() != "1" || len(budget.Selector.MatchLabels) != 2 {
		t.Error(text(t, budget))
	}
	spec, _ := install(t, valuesOf(t, "example.yaml")).pod(t)
	if spread := spec.TopologySpreadConstraints; len(spread) != 2 || len(spread[0].LabelSelector.MatchLabels) != 2 {
		t.Error(text(t, spread))
	}
}

// Pods are replaced for the settings that a reload can't change, and for no other.
func TestRestart(t *testing.T) {
	t.Parallel()
	restart := func(change string) string {
		return install(t, valuesOf(t, "example.yaml", change)).deployment.Spec.Template.Annotations["atlas-gateway/restart"]
	}
	before := restart("")
	if before == "" || restart("config: {listener: {public_url: https://other.example.com}, limits: {in_flight: 7}}") != before {
		t.Error("pods are replaced for what is read in place")
	}
	if restart("config: {timeouts: {idle: 7s}}") == before || restart("config: {log: {level: debug}}") == before {
		t.Error("no pod is replaced for what takes a restart")
	}
	var fixed []string
	for _, match := range regexp.MustCompile(`fixed\("([a-z_.]+)"`).FindAllStringSubmatch(read(t, "../../gateway/config/restart.go"), -1) {
		fixed = append(fixed, match[1])
	}
	list := regexp.MustCompile(`(?s)\$fixed := list(.*?)-}}`).FindString(read(t, chart+"/templates/_helpers.tpl"))
	var known []string
	for _, match := range regexp.MustCompile(`"([a-z_.]+)"`).FindAllStringSubmatch(list, -1) {
		known = append(known, match[1])
	}
	if !slices.Equal(known, fixed) || len(fixed) < 10 {
		t.Errorf("the chart knows %v, the gateway has %v", known, fixed)
	}
}

// Only those who are named reach the gateway, and it reaches only what it needs.
func TestNetwork(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]string{
		"example.yaml":      "from gateway: 1 peers; from management: 1 peers; to 53 53: 1 peers; to 443: 0 peers; to 5432: 1 peers",
		"testdata/one.yaml": "from management: 1 peers; to 53 53: 1 peers; to 3128: 1 peers; to 4318: 1 peers; to 6443: 0 peers",
	} {
		i := install(t, valuesOf(t, file))
		var rules []string
		for _, rule := range i.network.Spec.Ingress {
			if len(rule.From) == 0 {
				t.Errorf("%s: everyone reaches %s", file, ports(rule.Ports))
			}
			rules = append(rules, fmt.Sprintf("from %s: %d peers", ports(rule.Ports), len(rule.From)))
		}
		for _, rule := range i.network.Spec.Egress {
			rules = append(rules, fmt.Sprintf("to %s: %d peers", ports(rule.Ports), len(rule.To)))
		}
		if got := strings.Join(rules, "; "); got != want || fmt.Sprint(i.network.Spec.PolicyTypes) != "[Ingress Egress]" {
			t.Errorf("%s: %s, want %s", file, got, want)
		}
		if fmt.Sprint(i.network.Spec.PodSelector.MatchLabels) != fmt.Sprint(i.deployment.Spec.Selector.MatchLabels) {
			t.Errorf("%s: the policy is for %v", file, i.network.Spec.PodSelector)
		}
	}
	i := install(t, valuesOf(t, "example.yaml", "networkPolicy: {callers: [], operators: []}"))
	if len(i.network.Spec.Ingress) != 0 {
		t.Error(text(t, i.network.Spec.Ingress))
	}
}

func ports(ports []networking.NetworkPolicyPort) string {
	var all []string
	for _, port := range ports {
		all = append(all, port.Port.String())
	}
	return strings.Join(all, " ")
}

// The ports are those of the configuration. Callers' Service does not publish the metrics.
func TestPorts(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]string{"example.yaml": "8443 27090", "testdata/one.yaml": "8443 27090", "testdata/plain.yaml": "8080 9000"} {
		i := install(t, valuesOf(t, file))
		_, container := i.pod(t)
		if got := fmt.Sprint(container.Ports[0].ContainerPort, container.Ports[1].ContainerPort); got != want {
			t.Errorf("%s: %s, want %s", file, got, want)
		}
		if ports := i.services["atlas-gateway"].Spec.Ports; len(ports) != 1 || ports[0].TargetPort.String() != "gateway" {
			t.Errorf("%s: %s", file, text(t, ports))
		}
	}
	i := install(t, valuesOf(t, "testdata/one.yaml"))
	scraped := i.services["atlas-gateway-management"]
	for label, value := range i.monitor.Spec.Selector.MatchLabels {
		if scraped.Labels[label] != value {
			t.Errorf("the monitor asks for %s=%s: %v", label, value, scraped.Labels)
		}
	}
	if len(i.monitor.Spec.Selector.MatchLabels) != 3 || i.monitor.Spec.Endpoints[0].Port != scraped.Spec.Ports[0].Name || scraped.Spec.ClusterIP != "None" {
		t.Error(text(t, scraped), text(t, i.monitor))
	}
}

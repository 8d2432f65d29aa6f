// Package deploy_test runs and checks the files beside it.
package deploy_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"go.yaml.in/yaml/v3"
)

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

var buildCommand = regexp.MustCompile(`(?m)^RUN (CGO_ENABLED=0 go build .*) -o /out/ (.*)$`)

// TestStaticBinariesRunOnNothing builds both commands like the Dockerfile and runs
// them, as its user, in a root directory that has nothing else.
func TestStaticBinariesRunOnNothing(t *testing.T) {
	t.Parallel()
	parts := buildCommand.FindStringSubmatch(read(t, "Dockerfile"))
	if parts == nil {
		t.Fatal("the Dockerfile has no build command")
	}
	root := t.TempDir()
	build := exec.CommandContext(t.Context(), "sh", "-c", parts[1]+` -o "$0"/ `+parts[2], root)
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", parts[0], err, out)
	}
	for dir := root; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil { // only its owner can enter t.TempDir
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(root)
	if err != nil || len(entries) != 2 {
		t.Fatalf("the build made %v, %v; want the two commands", entries, err)
	}
	for _, args := range [][]string{{"worker", "version"}, {"worker", "--help"}, {"enqueue", "--help"}, {"enqueue", "completion", "bash"}} {
		c := exec.CommandContext(t.Context(), "/"+args[0], args[1:]...)
		c.Dir, c.Env = "/", []string{"PATH=/"}
		c.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: 65532, Gid: 65532}}
		if os.Getuid() != 0 { // only root may chroot; the binaries are static either way
			c.Path, c.SysProcAttr = filepath.Join(root, args[0]), nil
		}
		if out, err := c.CombinedOutput(); err != nil || len(out) == 0 {
			t.Errorf("%v = %v\n%s", args, err, out)
		}
	}
}

// documents parses every document of a YAML file; a repeated key is an error.
func documents(t *testing.T, path string) (all []map[string]any) {
	t.Helper()
	d := yaml.NewDecoder(bytes.NewReader([]byte(read(t, path))))
	for {
		var document map[string]any
		err := d.Decode(&document)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		all = append(all, document)
	}
}

func TestEveryYAMLFileParses(t *testing.T) {
	t.Parallel()
	parsed := 0
	err := filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".yaml" {
			return err
		}
		if len(documents(t, path)) == 0 {
			t.Errorf("%s is empty", path)
		}
		parsed++
		return nil
	})
	if err != nil || parsed < 4 {
		t.Errorf("%d files parsed, %v", parsed, err)
	}
}

// at follows keys and indices into a document.
func at(t *testing.T, v any, path ...any) any {
	t.Helper()
	for _, step := range path {
		switch step := step.(type) {
		case string:
			m, ok := v.(map[string]any)
			if !ok || m[step] == nil {
				t.Fatalf("nothing at %v of %v", step, path)
			}
			v = m[step]
		case int:
			v = v.([]any)[step]
		}
	}
	return v
}

// TestKubernetesManifestsAreConsistent: whatever one manifest names, another defines.
func TestKubernetesManifestsAreConsistent(t *testing.T) {
	t.Parallel()
	objects := map[string]map[string]any{}
	for _, file := range []string{"worker", "migrate", "autoscale"} {
		for _, d := range documents(t, "kubernetes/"+file+".yaml") {
			objects[d["kind"].(string)] = d
		}
	}
	for _, kind := range []string{"Deployment", "PodDisruptionBudget", "Service", "Job", "HorizontalPodAutoscaler"} {
		if objects[kind] == nil {
			t.Fatalf("there is no %s", kind)
		}
	}
	labels := at(t, objects["Deployment"], "spec", "template", "metadata", "labels", "app.kubernetes.io/name")
	for kind, path := range map[string][]any{
		"Deployment":          {"spec", "selector", "matchLabels"},
		"PodDisruptionBudget": {"spec", "selector", "matchLabels"},
		"Service":             {"spec", "selector"},
	} {
		if got := at(t, objects[kind], append(path, "app.kubernetes.io/name")...); got != labels {
			t.Errorf("%s selects %v, pods are %v", kind, got, labels)
		}
	}
	if got, want := at(t, objects["HorizontalPodAutoscaler"], "spec", "scaleTargetRef", "name"), at(t, objects["Deployment"], "metadata", "name"); got != want {
		t.Errorf("the autoscaler scales %v, the deployment is %v", got, want)
	}
	pods := map[string]any{"Deployment": nil, "Job": nil}
	for kind := range pods {
		spec := at(t, objects[kind], "spec", "template", "spec")
		if at(t, spec, "securityContext", "runAsNonRoot") != true || at(t, spec, "containers", 0, "securityContext", "readOnlyRootFilesystem") != true {
			t.Errorf("%s is not confined", kind)
		}
		pods[kind] = at(t, spec, "containers", 0, "image")
	}
	if pods["Deployment"] != pods["Job"] {
		t.Errorf("images differ: %v", pods)
	}
	const grace, preStop = 25, 3 // config.yaml's shutdown.grace
	if got := at(t, objects["Deployment"], "spec", "template", "spec", "terminationGracePeriodSeconds").(int); got < grace+preStop {
		t.Errorf("pods are killed after %d s", got)
	}
}

// TestWorkersAreStartedAgain: a worker exits if it starts while the server is away, and no
// platform gives up starting it again.
func TestWorkersAreStartedAgain(t *testing.T) {
	t.Parallel()
	unit := strings.Split(read(t, "systemd/trainingmonkey-worker.service"), "\n")
	for _, want := range []string{"Restart=always", "StartLimitIntervalSec=0"} {
		if !slices.Contains(unit, want) {
			t.Errorf("the unit lacks %s", want)
		}
	}
	for _, service := range []string{"worker", "second-worker"} {
		if got := at(t, documents(t, "compose.yaml")[0], "services", service, "restart"); got != "unless-stopped" {
			t.Errorf("compose restarts %s %v, want unless-stopped", service, got)
		}
	}
	deployment := documents(t, "kubernetes/worker.yaml")[0]
	if policy, set := at(t, deployment, "spec", "template", "spec").(map[string]any)["restartPolicy"]; set && policy != "Always" {
		t.Errorf("the pods' restartPolicy is %v, want Always, the default", policy)
	}
}

// TestSystemdUnit: the unit is confined, and has no misspelt setting, which systemd
// would ignore.
func TestSystemdUnit(t *testing.T) {
	t.Parallel()
	const path = "systemd/trainingmonkey-worker.service"
	lines := strings.Split(read(t, path), "\n")
	for _, want := range []string{"[Unit]", "[Service]", "[Install]", "Type=notify", "DynamicUser=yes", "NoNewPrivileges=yes", "ProtectSystem=strict", "TimeoutStopSec=30", "RestartPreventExitStatus=2"} {
		if !slices.Contains(lines, want) {
			t.Errorf("the unit lacks %s", want)
		}
	}
	for number, line := range lines {
		key, _, assigns := strings.Cut(line, "=")
		if line != "" && line[0] != '#' && line[0] != '[' && (!assigns || strings.ContainsAny(key, " \t")) {
			t.Errorf("%s:%d: %q is no setting", path, number+1, line)
		}
	}
}

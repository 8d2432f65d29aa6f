package web_test

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/trainingmonkey/worker/test/dbtest"
)

const (
	alertsFile     = "../../deploy/alerts.yaml"
	alertsTestFile = "../../deploy/alerts_test.yaml"
	dashboardFile  = "../../deploy/grafana-dashboard.json"
)

var (
	nameInQuery   = regexp.MustCompile(`\btmworker_[a-z_]+`)
	labelInQuery  = regexp.MustCompile(`\b(tmworker_[a-z_]+)\{([^}]*)\}`)
	groupingInSum = regexp.MustCompile(`by \(([a-z, ]+)\) \((?:[a-z_]+\()*(tmworker_[a-z_]+)`)
	equalLabel    = regexp.MustCompile(`([a-z]+)="([^"]*)"`)
)

// TestQueriesUseWhatIsExposed compares the alert rules and the dashboard with the
// worker's metrics: names, labels and the labels' values.
func TestQueriesUseWhatIsExposed(t *testing.T) {
	t.Parallel()
	r := newRig(t, dbtest.MigratedURL(t))
	r.exec(`SELECT pg_sleep(0.6)`) // a slow statement
	r.fill()
	exposed := r.get("/metrics").Body.String()
	queries := allQueries(t)
	for from, query := range queries {
		for _, name := range nameInQuery.FindAllString(query, -1) {
			if !strings.Contains(exposed, "\n"+name+"{") && !strings.Contains(exposed, "\n"+name+" ") {
				t.Errorf("%s: /metrics has no %s", from, name)
			}
		}
		for _, selector := range labelInQuery.FindAllStringSubmatch(query, -1) {
			for _, label := range equalLabel.FindAllStringSubmatch(selector[2], -1) {
				if !regexp.MustCompile(`\n` + selector[1] + `\{[^}]*\b` + label[0]).MatchString(exposed) {
					t.Errorf("%s: no series of %s has %s", from, selector[1], label[0])
				}
			}
		}
		for _, grouping := range groupingInSum.FindAllStringSubmatch(query, -1) {
			for label := range strings.SplitSeq(grouping[1], ", ") {
				if label != "instance" && !regexp.MustCompile(`\n`+grouping[2]+`\{[^}]*\b`+label+`="`).MatchString(exposed) {
					t.Errorf("%s: %s has no label %s", from, grouping[2], label)
				}
			}
		}
	}
	if len(queries) < 45 {
		t.Errorf("only %d queries found", len(queries))
	}
}

// alertRules returns the names and queries of the alert rules.
func alertRules(t *testing.T) map[string]string {
	t.Helper()
	var file struct {
		Groups []struct {
			Rules []struct{ Alert, Expr string }
		}
	}
	content, err := os.ReadFile(alertsFile)
	if err == nil {
		err = yaml.Unmarshal(content, &file)
	}
	if err != nil {
		t.Fatal(err)
	}
	rules := map[string]string{}
	for _, group := range file.Groups {
		for _, rule := range group.Rules {
			rules[rule.Alert] = rule.Expr
		}
	}
	return rules
}

// allQueries returns every query of the rules and the dashboard, by its place.
func allQueries(t *testing.T) map[string]string {
	t.Helper()
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	content, err := os.ReadFile(dashboardFile)
	if err == nil {
		err = json.Unmarshal(content, &dashboard)
	}
	if err != nil {
		t.Fatal(err)
	}
	queries := map[string]string{}
	for name, expr := range alertRules(t) {
		queries["alert "+name] = expr
	}
	for _, panel := range dashboard.Panels {
		for i, target := range panel.Targets {
			queries[fmt.Sprintf("panel %s %d", panel.Title, i)] = target.Expr
		}
	}
	return queries
}

// TestEveryAlertIsTested: every rule has a promtool test.
func TestEveryAlertIsTested(t *testing.T) {
	t.Parallel()
	var file struct {
		Tests []struct {
			Name string
			Runs []struct {
				Samples []struct{ Labels string } `yaml:"exp_samples"`
			} `yaml:"promql_expr_test"`
		}
	}
	content, err := os.ReadFile(alertsTestFile)
	if err == nil {
		err = yaml.Unmarshal(content, &file)
	}
	if err != nil {
		t.Fatal(err)
	}
	var tested []string
	for _, test := range file.Tests {
		if len(test.Runs) != 2 || len(test.Runs[0].Samples) != 1 || test.Runs[0].Samples[0].Labels != `{alertname="`+test.Name+`"}` || len(test.Runs[1].Samples) != 0 {
			t.Errorf("the test of %s does not check that it fires as the only alert and clears", test.Name)
		}
		tested = append(tested, test.Name)
	}
	for name := range alertRules(t) {
		if !slices.Contains(tested, name) {
			t.Errorf("%s fires in no test", name)
		}
	}
}

// alertRow finds the names in a row of the runbook's table of alerts.
var alertRow = regexp.MustCompile(`(?m)^\| ([A-Z]\w+(?:, [A-Z]\w+)*) \|`)

// TestEveryAlertIsInTheRunbook: the runbook describes every rule, and no other.
func TestEveryAlertIsInTheRunbook(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	rules, documented := alertRules(t), map[string]bool{}
	for _, row := range alertRow.FindAllStringSubmatch(string(content), -1) {
		for name := range strings.SplitSeq(row[1], ", ") {
			documented[name] = true
			if rules[name] == "" {
				t.Errorf("the runbook has %s, which is no rule", name)
			}
		}
	}
	for name := range rules {
		if !documented[name] {
			t.Errorf("the runbook lacks %s", name)
		}
	}
}

// TestLabelsAreBounded: names that others put into the database do not become labels.
func TestLabelsAreBounded(t *testing.T) {
	t.Parallel()
	r := newRig(t, dbtest.MigratedURL(t))
	r.exec(`INSERT INTO river.river_queue (name, updated_at) SELECT 'q' || i, now() FROM generate_series(1, 500) AS i`)
	r.takeSnapshot()
	r.exec(`INSERT INTO river.river_job (kind, queue, args, max_attempts) SELECT 'kind_' || i, 'default', '{}', 1 FROM generate_series(1, 500) AS i`)
	for range 3 {
		r.takeSnapshot()
	}
	for i := range 500 {
		r.exec(fmt.Sprintf("-- name: mine_%d\nSELECT 1", i))
	}
	if got, _ := r.metric(`tmworker_jobs_enqueued_total{kind="other"}`); got != "500" {
		t.Errorf("jobs of other kinds = %q, want 500", got)
	}
	if lines := strings.Count(r.get("/metrics").Body.String(), "\n"); lines > 4500 {
		t.Errorf("/metrics has %d lines", lines)
	}
}

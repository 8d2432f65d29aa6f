package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/trainingmonkey/worker/dbpool"
)

// allRows returns the contents of the tables that a purge changes.
func allRows(t *testing.T, pool *dbpool.Pool) string {
	t.Helper()
	return query[string](t, pool, `SELECT concat_ws('|', (SELECT string_agg(a::text, ' ') FROM activities a), (SELECT string_agg(j::text, ' ' ORDER BY id) FROM river.river_job j),
		(SELECT string_agg(r::text, ' ') FROM ingest_rejects r), (SELECT string_agg(u::text, ' ') FROM user_tokens u), (SELECT string_agg(l::text, ' ') FROM token_audit_log l),
		(SELECT string_agg(l::text, ' ') FROM user_locks l), (SELECT string_agg(s::text, ' ') FROM acwr_settings s))`)
}

func TestPurge(t *testing.T) {
	pool := operated(t)
	stored(t, pool)
	withTokens(t, pool, 8)
	execute(t, pool, `UPDATE river.river_job SET state = 'completed', finalized_at = now() WHERE state = 'running'`)
	execute(t, pool, `INSERT INTO token_audit_log (user_id, operation, timestamp) VALUES (7, 'old', now() - interval '3 years')`)
	before := allRows(t, pool)
	rows := func(heading string) (want []string) {
		for table, n := range map[string]int{"activities": 3, "ingest_rejects": 2, "user_tokens": 1, "token_audit_log": 1, "river_job": 8} {
			want = append(want, fmt.Sprintf("%-15s  %*d\n", table, len(heading), n))
		}
		return append(want, heading)
	}
	want := []string{"1 row of token_audit_log until", "user_settings"}
	enqueue(t, "athlete", "purge", "--user", "7").want(t, 0, append(append(want, rows("WOULD BE REMOVED")...), "nothing was done. Do it with --yes")...)
	if after := allRows(t, pool); after != before {
		t.Errorf("the preview changed something:\n%s\nwas:\n%s", after, before)
	}
	enqueue(t, "athlete", "purge", "--user", "7", "--yes").want(t, 0, append(append(want, rows("REMOVED")...), "user 7 is removed")...)
	for table, left := range map[string]int{"activities": 0, "ingest_rejects": 0, "user_tokens": 0, "token_audit_log": 1} {
		if got := query[int](t, pool, `SELECT count(*) FROM `+table+` WHERE user_id = 7`); got != left {
			t.Errorf("%s has %d rows, want %d", table, got, left)
		}
	}
	if got := query[int](t, pool, countJobs); got != 0 {
		t.Errorf("%d jobs are left", got)
	}
	var printed purgedAthlete
	again := enqueue(t, "athlete", "purge", "--user", "7", "--with-audit", "--yes", "--json")
	again.want(t, 0)
	if err := json.Unmarshal([]byte(again.stdout), &printed); err != nil || printed.Preview || printed.AuditRows != 0 {
		t.Errorf("again: %s, %v", again.stdout, err)
	}
	for _, table := range printed.Tables {
		if want := map[string]int64{"token_audit_log": 1}[table.Table]; table.Rows != want || table.Removed != want {
			t.Errorf("again: %+v, want %d", table, want)
		}
	}
	if got := query[int](t, pool, `SELECT count(*) FROM user_tokens`); got != 7 {
		t.Errorf("%d users have tokens, want the other 7", got)
	}
	for _, args := range []string{"", "--user 0", "--user -7", "--user 7 8"} {
		enqueue(t, append([]string{"athlete", "purge"}, strings.Fields(args)...)...).want(t, 2)
	}
}

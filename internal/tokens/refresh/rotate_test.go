package refresh_test

import (
	"encoding/base64"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/trainingmonkey/worker/internal/tokens"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// TestRotationUnderRefreshes rotates 10,000 rows to a new key, some encrypted with an
// old key and some not at all, while two processes refresh, one of which still has the
// old key as its current one.
func TestRotationUnderRefreshes(t *testing.T) {
	t.Parallel()
	const rows, refreshed = 10_000, 150
	r := newRig(t, 1, 0) // with the old key, k1
	var operations []tokens.Operation
	for user := int32(1); user <= rows; user++ {
		access, refresh := r.provider.Authorize(user)
		operations = append(operations, tokens.Operation{UserID: user, Access: access, Refresh: refresh, ExpiresAt: now().Since})
	}
	if _, err := r.store.Save(t.Context(), operations); err != nil {
		t.Fatal(err)
	}
	plain := operations[rows/2].UserID
	for i := range 1000 {
		op := operations[rows/2+i]
		if _, err := r.pool.Exec(t.Context(), `UPDATE user_tokens SET access_token = $2, refresh_token = $3 WHERE user_id = $1`, op.UserID, op.Access, op.Refresh); err != nil {
			t.Fatal(err)
		}
	}
	key := func(id, of string) string {
		return id + ":" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat(of, tokens.KeyBytes)))
	}
	parse := func(text string) *tokens.Keyring {
		ring, err := tokens.ParseKeyring(text)
		if err != nil {
			t.Fatal(err)
		}
		return ring
	}
	both := tokens.New(r.pool, parse(key("k2", "n")+","+key("k1", "k")), dbtest.RiverSchema)
	late := tokens.New(r.pool, parse(key("k1", "k")+","+key("k2", "n")), dbtest.RiverSchema)
	r.refreshers = nil
	r.addProcess(both)
	r.addProcess(late)

	stop := make(chan struct{})
	var wg sync.WaitGroup
	var refreshes [2]atomic.Int64 // stored by each process
	for process := range r.refreshers {
		wg.Go(func() {
			for first := 0; ; first = (first + refreshed/10) % refreshed {
				select {
				case <-stop:
					return
				default:
				}
				var users []int32
				for i := range refreshed / 10 {
					users = append(users, 1+int32((first+i)*61%rows), plain+int32(first+i)) // encrypted and plain, ahead of and behind the rotation
				}
				result, err := r.refreshers[process].Refresh(t.Context(), users, now())
				if err != nil || result.Failed+result.Marked+result.Absent > 0 {
					t.Errorf("refresh under rotation: %+v, %v", result, err)
					return
				}
				refreshes[process].Add(int64(result.Refreshed))
			}
		})
	}
	calls := 0
	rotation, err := both.Rotate(t.Context(), func(tokens.Rotation) {
		calls++
		// On a busy machine too, both processes refresh between two batches of the first pass.
		for calls <= rows/tokens.RotateBatch && min(refreshes[0].Load(), refreshes[1].Load()) < int64(calls) && !t.Failed() {
			time.Sleep(time.Millisecond)
		}
	})
	close(stop)
	wg.Wait()
	if err != nil || rotation.Total < rows-refreshed || rotation.Rotated < rows-refreshed || len(rotation.Unreadable) > 0 || calls < rows/tokens.RotateBatch {
		t.Errorf("rotation %+v in %d calls, %v", rotation, calls, err)
	}
	// Rows that the late process wrote with the old key are rotated by a second run.
	if rotation, err = both.Rotate(t.Context(), func(tokens.Rotation) {}); err != nil {
		t.Fatal(err)
	}
	t.Logf("rotated %d rows while %d and %d refreshes were stored; afterwards %d", rows, refreshes[0].Load(), refreshes[1].Load(), rotation.Rotated)
	newKeyOnly := tokens.New(r.pool, parse(key("k2", "n")), dbtest.RiverSchema)
	all := make([]int32, rows)
	for i := range all {
		all[i] = int32(i + 1)
	}
	loaded, err := newKeyOnly.Load(t.Context(), all)
	if err != nil || len(loaded.Tokens) != rows {
		t.Fatalf("%d of %d rows decrypt with the new key only; %v, %v", len(loaded.Tokens), rows, loaded.Unreadable, err)
	}
	for _, token := range loaded.Tokens {
		if current, _ := r.provider.Current(token.UserID); token.Refresh != current || token.Reauthorize != "" {
			t.Fatalf("the stored token of user %d is not the provider's", token.UserID)
		}
	}
	if got := r.text(`SELECT count(*)::text FROM user_tokens WHERE NOT (starts_with(access_token, 'enc:v1:k2:') AND starts_with(refresh_token, 'enc:v1:k2:'))`); got != "0" {
		t.Errorf("%s rows are not encrypted with the new key", got)
	}
}

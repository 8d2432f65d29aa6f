package oracle

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestActivitiesAreTheSameEveryTimeAndValid(t *testing.T) {
	t.Parallel()
	first := SampleActivities()
	if diff := cmp.Diff(first, SampleActivities()); diff != "" {
		t.Fatalf("two calls differ:\n%s", diff)
	}
	type day struct {
		user int32
		date string
	}
	sports, perDay, users := map[string]bool{}, map[day]int{}, map[int32]bool{}
	double := 0
	for i := range first {
		if err := first[i].Validate(); err != nil {
			t.Fatal(err)
		}
		sports[*first[i].SportType], users[first[i].UserID] = true, true
		if perDay[day{first[i].UserID, first[i].Date}]++; perDay[day{first[i].UserID, first[i].Date}] == 2 {
			double++
		}
	}
	if len(first) < 2000 || len(sports) < 4 || len(users) != SampleAthletes || double < 50 {
		t.Errorf("%d activities, %d sports, %d athletes, %d days with two; want more variety", len(first), len(sports), len(users), double)
	}
}

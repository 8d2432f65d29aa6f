package cli

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTable(t *testing.T) {
	for _, c := range []struct {
		header string
		rows   []string
		want   string
	}{
		{
			"QUEUE\tJOBS\tDONE\tOLDEST",
			[]string{"ingest\t7\t3 of 4\t-", "recalc ≈\t1024\t13 of 400\t2 min"},
			"QUEUE     JOBS       DONE  OLDEST\n" +
				"ingest       7     3 of 4  -\n" +
				"recalc ≈  1024  13 of 400  2 min\n",
		},
		{"N\tX", []string{"-\t1.5", "12\tnone"}, " N  X\n -  1.5\n12  none\n"},
		{"ID\tJOBS", nil, "ID  JOBS\n"},
	} {
		var got strings.Builder
		if err := WriteTable(&got, c.header, c.rows); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, got.String()); diff != "" {
			t.Errorf("WriteTable (-want +got):\n%s", diff)
		}
	}
}

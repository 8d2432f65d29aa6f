package activityfile

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
)

// endless yields head, then record repeatedly until size bytes are out, then tail.
type endless struct {
	head, record, tail string
	size               int

	pending string
	given   int
	done    bool
}

func (e *endless) Read(p []byte) (int, error) {
	for e.pending == "" {
		switch {
		case e.given == 0:
			e.pending = e.head + e.record
		case e.given < e.size:
			e.pending = e.record
		case !e.done:
			e.pending, e.done = e.tail, true
		default:
			return 0, io.EOF
		}
	}
	n := copy(p, e.pending)
	e.pending, e.given = e.pending[n:], e.given+n
	return n, nil
}

const ownRecord = `{"activity_id":1,"user_id":7,"date":"2026-01-31","type":"Trail Run","distance_miles":6.21,"elevation_gain_feet":984.25,"duration_minutes":60,"avg_heart_rate":150}`

func inputs(size int) map[Format]*endless {
	return map[Format]*endless{
		NDJSON:    {record: ownRecord + "\n", size: size},
		JSON:      {head: "[" + ownRecord, record: ",\n" + ownRecord, tail: "]", size: size},
		StravaAPI: {head: "[" + trailRun, record: ",\n" + trailRun, tail: "]", size: size},
		StravaExport: {
			head:   exportHeader,
			record: `1,"Oct 6, 2022, 11:19:20 PM",Run,Run,979,2.43,177.0,979.0,971.0,2432.77001953125,2.505427598953247,16.222536087036133,,165.57888793945312,,` + "\n", size: size,
		},
	}
}

// TestMemoryStaysBounded: a file of any size takes the memory of one record. The heap
// is measured while reading, so that anything kept would show.
func TestMemoryStaysBounded(t *testing.T) {
	const size, maxHeap, maxForFaults = 2 << 20, 1 << 20, 4 << 20
	for format, in := range inputs(size) {
		t.Run(string(format), func(t *testing.T) {
			checkHeap(t, in, Options{Format: format, UserID: 7}, maxHeap, false)
		})
	}
	// A record that does not end cannot be returned, and must not be kept.
	t.Run("one line of 200 MB", func(t *testing.T) {
		checkHeap(t, &endless{record: strings.Repeat("x", 1<<16), tail: "\n" + ownRecord, size: 200 << 20}, Options{Format: NDJSON}, maxForFaults, true)
	})
	t.Run("a quote open for 200 MB", func(t *testing.T) {
		checkHeap(t, &endless{head: exportHeader + "1,\"", record: strings.Repeat("x\n", 1<<15), size: 200 << 20}, Options{Format: StravaExport, UserID: 7}, maxForFaults, true)
	})
}

func checkHeap(t *testing.T, in io.Reader, o Options, maxHeap uint64, faulty bool) {
	t.Helper()
	heap := func() uint64 {
		runtime.GC()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return stats.HeapAlloc
	}
	before, highest := heap(), uint64(0)
	r, err := Open("-", in, o)
	if err != nil {
		t.Fatal(err)
	}
	var fault *RecordError
	for n := 0; ; n++ {
		_, err := r.Next()
		if n%10000 == 0 {
			highest = max(highest, heap())
		}
		if errors.As(err, &fault) && faulty {
			continue
		}
		if errors.Is(err, io.EOF) || err != nil && faulty {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	highest = max(highest, heap())
	if highest > before+maxHeap {
		t.Errorf("the heap grew by %d KB while %d KB were read, want at most %d KB", (highest-before)>>10, r.BytesRead()>>10, maxHeap>>10)
	}
	runtime.KeepAlive(r)
}

func BenchmarkReader(b *testing.B) {
	for format, in := range inputs(4 << 20) {
		b.Run(string(format), func(b *testing.B) {
			b.ReportAllocs()
			records := 0
			for b.Loop() {
				again := *in
				r, err := Open("-", &again, Options{Format: format, UserID: 7})
				if err != nil {
					b.Fatal(err)
				}
				activities := 0
				for _, err = r.Next(); err == nil; _, err = r.Next() {
					activities++
				}
				if !errors.Is(err, io.EOF) {
					b.Fatal(err)
				}
				b.SetBytes(r.BytesRead())
				records = activities
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(records), "ns/record")
		})
	}
}

func ExampleReader() {
	r, err := Open("-", strings.NewReader(ownRecord+"\n{}\n"), Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close() //nolint:errcheck // read only
	for {
		activity, err := r.Next()
		var fault *RecordError
		switch {
		case errors.Is(err, io.EOF):
			return
		case errors.As(err, &fault):
			fmt.Println(fault)
		case err != nil:
			fmt.Println(err)
			return
		default:
			fmt.Println(activity.Date, *activity.Type, *activity.TotalLoadMiles, *activity.Trimp)
		}
	}
	// Output:
	// 2026-01-31 Trail Run 7.52 138.72
	// stdin:2: user_id: is required in every activity unless --user names one for the whole file
}

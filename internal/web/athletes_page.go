package web

import (
	"cmp"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"

	"github.com/trainingmonkey/worker/internal/athlete"
)

// maxWalked is how many athletes one page reads. Each takes about a millisecond, and
// together they must fit into throttleTime.
const maxWalked = 500

// athletesPage is the data of athletes.html.
type athletesPage struct {
	page
	Fault      string
	Outside    []outsider // most recent activity first
	Walked     int
	Training   int // with an activity within athlete.ActiveDays
	ActiveDays int
	GreatestID int32 // of the athletes read
	SmallestID int32
	From       int32 // greater ids were skipped; 0 for none
	More       bool  // there may be athletes with smaller ids
}

// outsider is an athlete whose ratio today is outside the usual band.
type outsider struct {
	athlete.Latest
	Ratio, TrimpRatio float32
	Band              ratioBand
}

func (p *pages) athletes(w http.ResponseWriter, r *http.Request) {
	data := athletesPage{page: p.page("Athletes outside 0.8 to 1.3", r), ActiveDays: athlete.ActiveDays}
	status := p.readOutside(r, &data)
	p.render(w, r, status, "athletes.html", data)
}

func (p *pages) readOutside(r *http.Request, data *athletesPage) (status int) {
	if below := r.URL.Query().Get("below"); below != "" {
		id, err := strconv.ParseInt(below, 10, 32)
		if err != nil || id <= 0 {
			data.Fault = fmt.Sprintf("below must be a user id, a positive whole number below 2147483648, got %.40q.", below)
			return http.StatusBadRequest
		}
		data.From = int32(id)
	}
	latest, err := athlete.ReadLatest(r.Context(), p.options.Pool, data.From, maxWalked, p.options.Rounding)
	if err != nil {
		p.options.Logger.WarnContext(r.Context(), "athletes not shown", slog.String("error", err.Error()))
		data.Fault = "The database did not answer. Try again."
		return http.StatusServiceUnavailable
	}
	if data.Walked = len(latest); data.Walked > 0 {
		data.GreatestID, data.SmallestID = latest[0].UserID, latest[data.Walked-1].UserID
	}
	data.More = data.Walked == maxWalked
	for _, l := range latest {
		if l.Last == nil || l.AcuteChronicRatio == nil || l.TrimpAcuteChronicRatio == nil {
			continue
		}
		data.Training++
		o := outsider{l, *l.AcuteChronicRatio, *l.TrimpAcuteChronicRatio, findBand(*l.AcuteChronicRatio)}
		if o.Band != ratioBands[1] {
			data.Outside = append(data.Outside, o)
		}
	}
	slices.SortFunc(data.Outside, func(a, b outsider) int {
		return cmp.Or(cmp.Compare(*b.Last, *a.Last), cmp.Compare(b.UserID, a.UserID))
	})
	return http.StatusOK
}

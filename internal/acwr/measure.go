package acwr

// measure is the state from which the means of one kind of load are computed.
type measure struct {
	settings Settings
	window   []dated // loads other than 0 of the chronic days, oldest first
	day      int     // the newest

	seeded         bool // EWMA: there was a load
	acute, chronic float64
	lambdaAcute    float64
	lambdaChronic  float64

	weights, factor float64 // Decay: Σ factor^age, factor
}

// dated is the load of one activity.
type dated struct {
	day  int
	load float64
}

func newMeasure(s Settings) measure {
	m := measure{
		settings:      s,
		lambdaAcute:   2 / float64(acuteDays+1),
		lambdaChronic: 2 / float64(s.ChronicDays+1),
		factor:        decayFactor(s.DecayRate),
	}
	for range s.ChronicDays {
		m.weights = float64(m.weights*m.factor) + 1
	}
	return m
}

func (m *measure) reset() {
	m.window = m.window[:0]
	m.seeded, m.acute, m.chronic = false, 0, 0
}

// next advances to a day with these loads. The days in between had none.
func (m *measure) next(day int, loads []float64) {
	m.rest(day - m.day - 1)
	m.day = day
	m.forget()
	total := 0.0
	for _, load := range loads {
		total += load
		if load != 0 {
			m.window = append(m.window, dated{day, load})
		}
	}
	switch {
	case m.settings.Formula != EWMA:
	case m.seeded:
		m.acute = weighted(m.lambdaAcute, total, m.acute)
		m.chronic = weighted(m.lambdaChronic, total, m.chronic)
	case total != 0:
		m.seeded, m.acute, m.chronic = true, total, total
	}
}

// forget drops the loads of days before the window.
func (m *measure) forget() {
	expired := 0
	for expired < len(m.window) && m.window[expired].day <= m.day-m.settings.ChronicDays {
		expired++
	}
	m.window = append(m.window[:0], m.window[expired:]...)
}

// rest advances over days without a load. It stops as soon as another one changes nothing.
func (m *measure) rest(days int) {
	for i := 0; m.seeded && i < days; i++ {
		acute, chronic := weighted(m.lambdaAcute, 0, m.acute), weighted(m.lambdaChronic, 0, m.chronic)
		if acute == m.acute && chronic == m.chronic {
			return
		}
		m.acute, m.chronic = acute, chronic
	}
}

// weighted is λ·load + (1−λ)·average. The conversions keep processors from fusing the
// product with the sum, which would round once instead of twice.
func weighted(lambda, load, average float64) float64 {
	return float64(lambda*load) + float64((1-lambda)*average)
}

// means returns the acute and the chronic mean of the newest day.
func (m *measure) means() (acute, chronic float64) {
	if m.settings.Formula == EWMA {
		return m.acute, m.chronic
	}
	var all, before, within float64 // sums: of all days, before the acute days, in the acute days
	for _, d := range m.window {
		all += d.load
		if d.day <= m.day-acuteDays {
			before += d.load
		} else {
			within += d.load
		}
	}
	acute = within / acuteDays
	switch m.settings.Formula {
	case Uncoupled:
		return acute, before / float64(m.settings.ChronicDays-acuteDays)
	case Decay:
		return acute, m.decaying() / m.weights
	default:
		return acute, all / float64(m.settings.ChronicDays)
	}
}

// decaying is the sum of the days' totals, each weighted by its age.
func (m *measure) decaying() (sum float64) {
	left := m.window
	for day := m.day - m.settings.ChronicDays + 1; day <= m.day; day++ {
		total := 0.0
		for len(left) > 0 && left[0].day == day {
			total += left[0].load
			left = left[1:]
		}
		sum = float64(sum*m.factor) + total
	}
	return sum
}

package acwr

// measure is what the values of a day need to know of one kind of load.
type measure struct {
	window []float64 // the chronic days, oldest first, beginning after newest and going around
	newest int       // the day's place in window

	weighting      bool // the formula is EWMA
	seeded         bool // there was a load
	acute, chronic float64
	lambdaAcute    float64
	lambdaChronic  float64

	weights, factor float64 // Decay: Σ factor^age, factor
}

func newMeasure(s Settings) measure {
	m := measure{
		weighting:     s.Formula == EWMA,
		window:        make([]float64, s.ChronicDays),
		lambdaAcute:   2 / float64(AcuteDays+1),
		lambdaChronic: 2 / float64(s.ChronicDays+1),
		factor:        decayFactor(s.DecayRate),
	}
	for range s.ChronicDays {
		m.weights = float64(m.weights*m.factor) + 1
	}
	return m
}

func (m *measure) reset() {
	clear(m.window)
	m.seeded, m.acute, m.chronic = false, 0, 0
}

// next moves on over the skipped days, which had no load, to a day with this one.
func (m *measure) next(skipped int, load float64) {
	m.rest(skipped)
	m.newest = (m.newest + 1) % len(m.window)
	m.window[m.newest] = load
	switch {
	case !m.weighting:
	case m.seeded:
		m.acute = weighted(m.lambdaAcute, load, m.acute)
		m.chronic = weighted(m.lambdaChronic, load, m.chronic)
	case load != 0:
		m.seeded, m.acute, m.chronic = true, load, load
	}
}

// rest lets days without a load pass. However many they are, it ends when they
// change nothing any more.
func (m *measure) rest(days int) {
	for i := range min(days, len(m.window)) {
		m.window[(m.newest+1+i)%len(m.window)] = 0
	}
	m.newest = (m.newest + days) % len(m.window)
	for i := 0; m.seeded && i < days; i++ {
		acute, chronic := weighted(m.lambdaAcute, 0, m.acute), weighted(m.lambdaChronic, 0, m.chronic)
		if acute == m.acute && chronic == m.chronic {
			return
		}
		m.acute, m.chronic = acute, chronic
	}
}

// weighted is λ·load + (1−λ)·average. The conversions keep processors from
// fusing the product with the sum, which would round once where others round
// twice.
func weighted(lambda, load, average float64) float64 {
	return float64(lambda*load) + float64((1-lambda)*average)
}

// means returns the acute and the chronic mean of the newest day. Every window
// is summed anew, oldest day first.
func (m *measure) means(s Settings) (acute, chronic float64) {
	if s.Formula == EWMA {
		return m.acute, m.chronic
	}
	n := len(m.window)
	var all, before, within, decaying float64 // sums: of all days, before the acute ones, of those
	at := m.newest
	for i := range n {
		if at++; at == n {
			at = 0
		}
		x := m.window[at]
		all += x
		if i < n-AcuteDays {
			before += x
		} else {
			within += x
		}
		if s.Formula == Decay {
			decaying = float64(decaying*m.factor) + x
		}
	}
	acute = within / AcuteDays
	switch s.Formula {
	case Uncoupled:
		return acute, before / float64(n-AcuteDays)
	case Decay:
		return acute, decaying / m.weights
	default:
		return acute, all / float64(n)
	}
}

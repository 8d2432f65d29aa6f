package trainingload

import "testing"

func BenchmarkExternalLoad(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		ExternalLoad(Session{Type: "Trail Run", Miles: 6.21, Feet: 984})
	}
}

func BenchmarkParseSport(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		ParseSport("BackcountrySki")
	}
}

func BenchmarkTRIMP(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		TRIMP(60, 150, DefaultHeartRate)
	}
}

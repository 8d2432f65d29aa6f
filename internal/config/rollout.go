package config

// InRollout tells whether an id belongs to the given percent of all ids: always the
// same ones, and when the share grows, those it had and more. The
// multiplier, 2⁶⁴ over the golden ratio, spreads consecutive ids evenly (Knuth,
// TAOCP 6.4).
func InRollout(id int64, percent int) bool {
	return int(uint64(id)*0x9E3779B97F4A7C15>>32%100) < percent
}

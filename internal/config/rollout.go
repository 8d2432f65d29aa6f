package config

// InRollout reports whether an id belongs to the given percent of all ids. These are
// always the same ids, and a larger share includes a smaller one. The multiplier, 2⁶⁴
// over the golden ratio, distributes consecutive ids evenly (Knuth, TAOCP 6.4).
func InRollout(id int64, percent int) bool {
	return int(uint64(id)*0x9E3779B97F4A7C15>>32%100) < percent
}

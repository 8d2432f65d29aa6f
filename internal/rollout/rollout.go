// Package rollout picks a share of things by their ids: always the same ones,
// and when the share grows, those it had and more.
package rollout

// Includes tells whether an id belongs to the given percent of all ids. The
// multiplier, 2⁶⁴ over the golden ratio, spreads consecutive ids evenly (Knuth,
// TAOCP 6.4).
func Includes(id int64, percent int) bool {
	return int(uint64(id)*0x9E3779B97F4A7C15>>32%100) < percent
}

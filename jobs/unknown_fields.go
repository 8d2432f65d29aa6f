package jobs

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// fieldNames are the names of an activity's fields. meantNames are those suggested for a
// misspelt name: all but the fields that say how a version is applied.
var fieldNames, meantNames = func() (all, meant []string) {
	activity := reflect.TypeFor[Activity]()
	for i := range activity.NumField() {
		field := activity.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		all = append(all, name)
		if field.Type.Kind() != reflect.Bool {
			meant = append(meant, name)
		}
	}
	return all, meant
}()

// checkFields returns every field that an activity does not have, each with the nearest
// existing name.
func checkFields[T any](fields map[string]T) error {
	var faults []error
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if slices.Contains(fieldNames, name) {
			continue
		}
		fault := fmt.Errorf("unknown field %q", clip(name))
		if nearest := nearestName(name, meantNames); nearest != "" {
			fault = fmt.Errorf("%w (did you mean %s?)", fault, nearest)
		}
		faults = append(faults, fault)
	}
	return errors.Join(faults...)
}

// nearestName returns the candidate that shares most pairs of letters with a name,
// or "" if none shares a third of them. The SQL function nearest_name does the same.
func nearestName(name string, candidates []string) (nearest string) {
	given, best := letterPairs(strings.ToLower(name)), 0.
	for _, candidate := range slices.Sorted(slices.Values(candidates)) {
		shared := 0
		for pair := range letterPairs(candidate) {
			if given[pair] {
				shared++
			}
		}
		letters := len([]rune(name)) + len(candidate) - 2
		if likeness := float64(shared) / float64(letters); 6*shared >= letters && likeness > best {
			nearest, best = candidate, likeness
		}
	}
	return nearest
}

func letterPairs(name string) map[string]bool {
	letters, pairs := []rune(name), map[string]bool{}
	for i := range len(letters) - 1 {
		pairs[string(letters[i:i+2])] = true
	}
	return pairs
}

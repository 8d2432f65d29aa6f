package trainingload

import (
	"slices"
	"strings"
	"unicode"
)

// Sport selects the formula of the external load. Its values are those of the
// column sport_type.
type Sport string

// The sports that have a formula of their own. Walking, hiking and unknown
// types are computed as running.
const (
	Running           Sport = "running"
	Cycling           Sport = "cycling"
	Swimming          Sport = "swimming"
	Rowing            Sport = "rowing"
	BackcountrySkiing Sport = "backcountry_skiing"
	Strength          Sport = "strength"
)

// sportWords are tried in order, and the first sport with a word in the type
// wins: "Weight Training Ride" is strength, "Pool Running" is running. Words
// that name a place and not a movement come last.
var sportWords = []struct {
	sport Sport
	words []string
}{
	{Strength, []string{
		"strength", "weight", "weights", "weighttraining", "weightlifting", "powerlifting", "lifting",
		"workout", "workouts", "crossfit", "training", "gym", "hiit", "calisthenics",
	}},
	{Cycling, []string{
		"cycling", "cycle", "cyclocross", "bicycle", "bicycling", "bike", "bikes", "biking", "ebike", "emountainbike",
		"ride", "riding", "virtualride", "gravelride", "mountainbike", "mountainbikeride", "ebikeride", "emountainbikeride",
		"handcycle", "velomobile", "spin", "spinning",
	}},
	{Swimming, []string{"swim", "swims", "swimming"}},
	{Rowing, append([]string{"row", "rower", "rowing", "virtualrow"}, paddleWords...)},
	{BackcountrySkiing, []string{"ski", "skiing", "skimo", "backcountryski", "nordicski", "rollerski"}},
	{Running, []string{"run", "runs", "running", "jog", "jogging", "trailrun", "virtualrun", "treadmill"}},
	{Swimming, []string{"openwater", "pool"}},
}

// paddleWords mark paddled boats, for which rowing is the nearest formula.
var paddleWords = []string{"kayak", "kayaking", "canoe", "canoeing", "paddle", "paddling"}

// waterWords mark the variants with a higher load: open water for swimming, on
// water for rowing.
var waterWords = append([]string{"openwater", "onwater", "outdoor"}, paddleWords...)

// ParseSport detects the sport from an activity type as Strava, its bulk export or
// another provider spells it: "TrailRun", "Weight Training", "indoor_rowing".
// Only whole words count, so there is no row in "Crow Pose" and no ride in
// "Pride Walk". The default is Running.
func ParseSport(activityType string) Sport {
	words := typeWords(activityType)
	for _, rule := range sportWords {
		if containsAny(words, rule.words) {
			return rule.sport
		}
	}
	return Running
}

// unloadedWords mark the types to which no formula applies: the athlete is
// carried over the distance, or distance and time say nothing about the load.
var unloadedWords = []string{
	"yoga", "pilates", "meditation", "stretching", "breathwork", "golf", "rest",
	"alpineski", "downhillski", "resortskiing", "snowboard", "snowboarding",
	"sail", "sailing", "surf", "surfing", "windsurf", "windsurfing", "kitesurf", "kitesurfing",
	"horse", "horseback", "motorcycle", "motorcycling", "motorsport",
}

// HasTrainingLoad is false for the types that the application skips because no
// formula applies, such as yoga, golf and lift-served skiing.
func HasTrainingLoad(activityType string) bool {
	return !containsAny(typeWords(activityType), unloadedWords)
}

// typeWords splits a type at spaces, punctuation and capitals into lower-case
// words, and adds every pair of neighbours as one word: "OpenWaterSwim" has the
// words open, water, swim, openwater and waterswim.
func typeWords(activityType string) []string {
	words := strings.FieldsFunc(SpacedType(activityType), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r)
	})
	for i := range words {
		words[i] = strings.ToLower(words[i])
	}
	for i := range max(len(words)-1, 0) {
		words = append(words, words[i]+words[i+1])
	}
	return words
}

// SpacedType returns the display form of a type in camel case: "TrailRun" becomes "Trail
// Run", "EBikeRide" "E-Bike Ride". A type with spaces keeps them.
func SpacedType(activityType string) string {
	runes := []rune(activityType)
	var spaced strings.Builder
	for i, r := range runes {
		if i > 0 && unicode.IsUpper(r) {
			before := runes[i-1]
			startsWord := i+1 < len(runes) && unicode.IsLower(runes[i+1])
			switch {
			case i == 1 && before == 'E' && startsWord:
				spaced.WriteByte('-')
			case unicode.IsLower(before), unicode.IsUpper(before) && startsWord:
				spaced.WriteByte(' ')
			}
		}
		spaced.WriteRune(r)
	}
	return spaced.String()
}

func containsAny(words, sought []string) bool {
	return slices.ContainsFunc(words, func(word string) bool { return slices.Contains(sought, word) })
}

package trainingload

import (
	"testing"

	"pgregory.net/rapid"
)

func TestParseSport(t *testing.T) {
	t.Parallel()
	for want, types := range map[Sport][]string{
		Strength: {
			"WeightTraining", "Weight Training", "Workout", "Crossfit", "CrossFit", "strength_training",
			"HighIntensityIntervalTraining", "weighttraining", "Weight Training Ride", "Gym",
		},
		Cycling: {
			"Ride", "VirtualRide", "Virtual Ride", "EBikeRide", "E-Bike Ride", "EMountainBikeRide", "GravelRide",
			"MountainBikeRide", "mountainbikeride", "road_biking", "Handcycle", "Velomobile", "Indoor Cycling", "RIDE",
		},
		Swimming:          {"Swim", "swim", "OpenWaterSwim", "Open water", "lap_swimming", "Pool Swim", "Pool"},
		Rowing:            {"Rowing", "VirtualRow", "Virtual Row", "indoor_rowing", "Open Water Rowing", "Kayaking", "Canoeing", "StandUpPaddling"},
		BackcountrySkiing: {"BackcountrySki", "Backcountry Ski", "NordicSki", "RollerSki", "ski"},
		Running: {
			"Run", "TrailRun", "Trail Run", "VirtualRun", "Walk", "Hike", "Snowshoe", "", "Soccer", "Pool Running",
			"Crow Pose", "Pride Walk", "Trunk Rotation", "Skipping", "Grow", "Bride Hike", "Elliptical", "跑步", "\xff",
		},
	} {
		for _, activityType := range types {
			if got := ParseSport(activityType); got != want {
				t.Errorf("ParseSport(%q) = %s, want %s", activityType, got, want)
			}
		}
	}
}

func TestHasTrainingLoad(t *testing.T) {
	t.Parallel()
	for want, types := range map[bool][]string{
		false: {"Yoga", "yoga", "Hot Yoga", "Golf", "Pilates", "AlpineSki", "Alpine Ski", "alpineski", "Snowboard", "Sail", "Kitesurf", "Horseback Riding", "rest"},
		true: {
			"Run", "Walk", "Hike", "Workout", "WeightTraining", "Ride", "EBikeRide", "BackcountrySki", "NordicSki", "Rowing",
			"Kayaking", "IceSkate", "RockClimbing", "Tennis", "", "Everest Hike", "Forest Run",
		},
	} {
		for _, activityType := range types {
			if got := HasTrainingLoad(activityType); got != want {
				t.Errorf("HasTrainingLoad(%q) = %t, want %t", activityType, got, want)
			}
		}
	}
}

func TestSpacedType(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"TrailRun": "Trail Run", "Run": "Run", "": "", "Weight Training": "Weight Training", "EBikeRide": "E-Bike Ride",
		"EMountainBikeRide": "E-Mountain Bike Ride", "HighIntensityIntervalTraining": "High Intensity Interval Training",
		"E-Bike Ride": "E-Bike Ride", "Elliptical": "Elliptical", "HIIT": "HIIT", "HIITClass": "HIIT Class", "run": "run",
	} {
		if got := SpacedType(in); got != want {
			t.Errorf("SpacedType(%q) = %q, want %q", in, got, want)
		}
	}
}

// TestSpacingChangesNothing: Strava spells types with and without blanks, and both
// spellings give the same results.
func TestSpacingChangesNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		activityType := rapid.StringMatching(`([A-Z][a-z]{1,8}){1,4}|E(Mountain)?BikeRide`).Draw(t, "type")
		spaced := SpacedType(activityType)
		if SpacedType(spaced) != spaced {
			t.Fatalf("SpacedType(%q) = %q", spaced, SpacedType(spaced))
		}
		if ParseSport(spaced) != ParseSport(activityType) || HasTrainingLoad(spaced) != HasTrainingLoad(activityType) {
			t.Fatalf("%q and %q differ", activityType, spaced)
		}
	})
}

// Package activityfile streams activities from files: the service's own JSON,
// one activity per line or in an array, Strava's activity list, and the
// activities.csv of Strava's bulk export.
//
// Rule: only one record is kept in memory, so that a file of any size costs the same
// memory. Every error names file, line, field and value. Returned activities have passed
// [jobs.Activity.Validate].
package activityfile

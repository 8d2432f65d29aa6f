// Package activityfile streams activities out of files: the service's own JSON,
// one activity a line or in an array, Strava's activity list, and the
// activities.csv of Strava's bulk export.
//
// Rule: nothing is held beyond one record, so that a file of any size costs the
// same memory, and every fault says in which file and line it is, in which
// field, and what stands there. What is returned has passed
// [jobs.Activity.Validate].
package activityfile

// Package athlete reads the data of an athlete: days with their ACWR and its quality,
// likely doubles, comparisons of stored with recomputed values, and the heart rates and
// time zone in the application's settings. It shows days as JSON, as a table, and as a
// small chart on a terminal.
//
// Rule: it only reads.
package athlete

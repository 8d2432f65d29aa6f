package activityfile

import (
	"archive/zip"
	"fmt"
	"os"
	"path"
	"strings"
)

// exportFile is the name of the file of activities in every language.
const exportFile = "activities.csv"

// openZip continues with the only activities.csv of a bulk export.
func (s *source) openZip(file *os.File) error {
	archive, err := zip.NewReader(file, s.size)
	if err != nil {
		return fmt.Errorf("open %s: %w", s.name, err)
	}
	var found []*zip.File
	var names []string
	for _, entry := range archive.File {
		if path.Base(entry.Name) == exportFile && !entry.FileInfo().IsDir() {
			found, names = append(found, entry), append(names, entry.Name)
		}
	}
	switch len(found) {
	case 0:
		return fmt.Errorf("open %s: holds no %s, so it is not the bulk export of Strava", s.name, exportFile)
	case 1:
	default:
		return fmt.Errorf("open %s: holds %d files %s (%s), unpack the one to read", s.name, len(found), exportFile, clip(strings.Join(names, ", ")))
	}
	const encrypted = 1
	if found[0].Flags&encrypted != 0 {
		return fmt.Errorf("open %s: %s is encrypted, unpack it first", s.name, names[0])
	}
	s.name += "/" + names[0]
	text, err := found[0].Open()
	if err != nil {
		return fmt.Errorf("open %s: %w", s.name, err)
	}
	s.closers = append(s.closers, text)
	s.zipped, s.size = true, int64(found[0].UncompressedSize64) //nolint:gosec // archive/zip has checked it against the file
	s.count(text)
	return nil
}

package activityfile

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
)

// source is an open file, read without its compression and byte order mark.
type source struct {
	name    string // for messages
	data    *bufio.Reader
	zipped  bool
	size    int64 // 0: unknown
	read    atomic.Int64
	closers []io.Closer
}

// headBytes is how much of a file may be read to detect its format.
const headBytes = 64 << 10

var (
	gzipMagic = []byte{0x1f, 0x8b}
	zipMagics = [][]byte{[]byte("PK\x03\x04"), []byte("PK\x05\x06")}
	utf8Mark  = []byte{0xef, 0xbb, 0xbf}
	utf16Mark = [][]byte{{0xff, 0xfe}, {0xfe, 0xff}}
)

func openSource(name string, stdin io.Reader) (*source, error) {
	s := &source{name: name}
	if name == "-" {
		s.name = "stdin"
		s.count(stdin)
		return s, s.unwrap(nil)
	}
	file, err := openFile(&s.name)
	if err != nil {
		return nil, err
	}
	s.closers = append(s.closers, file)
	info, err := file.Stat()
	if err == nil {
		if info.Mode().IsRegular() {
			s.size = info.Size()
		}
		s.count(file)
		err = s.unwrap(file)
	}
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// openFile opens a file, or the activities.csv in the folder of an unpacked export.
func openFile(name *string) (*os.File, error) {
	if info, err := os.Stat(*name); err != nil || !info.IsDir() {
		return os.Open(*name)
	}
	folder := *name
	for _, inside := range []string{exportFile, exportFile + ".gz"} {
		*name = filepath.Join(folder, inside)
		file, err := os.Open(*name)
		if !errors.Is(err, fs.ErrNotExist) {
			return file, err
		}
	}
	return nil, fmt.Errorf("open %s: is a directory without %s: give a file, or the folder of an unpacked export", folder, exportFile)
}

// count makes the source read in through a counter.
func (s *source) count(in io.Reader) {
	s.read.Store(0)
	s.data = bufio.NewReaderSize(countingReader{in, &s.read}, headBytes)
}

type countingReader struct {
	in   io.Reader
	read *atomic.Int64
}

func (c countingReader) Read(p []byte) (int, error) {
	n, err := c.in.Read(p)
	c.read.Add(int64(n))
	return n, err
}

// unwrap opens gzip or zip. file is nil if the input cannot seek.
func (s *source) unwrap(file *os.File) error {
	if s.startsWith(gzipMagic) {
		plain, err := gzip.NewReader(s.data)
		if err != nil {
			return fmt.Errorf("open %s: %w", s.name, err)
		}
		s.data, file = bufio.NewReaderSize(plain, headBytes), nil
		s.closers = append(s.closers, plain)
	}
	switch {
	case s.startsWith(zipMagics...) && (file == nil || s.size == 0):
		return fmt.Errorf("open %s: a zip archive must be a file, because it is read from its end: save it or unpack activities.csv", s.name)
	case s.startsWith(zipMagics...):
		if err := s.openZip(file); err != nil {
			return err
		}
	}
	if s.startsWith(utf16Mark...) {
		return fmt.Errorf("open %s: is UTF-16, save it as UTF-8", s.name)
	}
	if s.startsWith(utf8Mark) {
		_, _ = s.data.Discard(len(utf8Mark))
	}
	if _, err := s.data.Peek(1); errors.Is(err, io.EOF) {
		return fmt.Errorf("open %s: is empty", s.name)
	} else if err != nil {
		return fmt.Errorf("read %s: %w", s.name, err)
	}
	return nil
}

func (s *source) startsWith(prefixes ...[]byte) bool {
	for _, prefix := range prefixes {
		// Byte by byte, because a pipe may not have more yet.
		for n := 1; ; n++ {
			head, err := s.data.Peek(n)
			if err != nil || !bytes.HasPrefix(prefix, head) {
				break
			}
			if n == len(prefix) {
				return true
			}
		}
	}
	return false
}

// head returns the beginning of the text, at least n bytes unless the text is shorter,
// and whether no more can be read. It does not wait for more than it needs, so that
// activities from a slow pipe are read as they come.
func (s *source) head(n int) (head []byte, all bool, err error) {
	_, err = s.data.Peek(n)
	ended := errors.Is(err, io.EOF)
	if err != nil && !ended {
		return nil, false, fmt.Errorf("read %s: %w", s.name, err)
	}
	head, _ = s.data.Peek(s.data.Buffered())
	return head, ended || len(head) >= headBytes, nil
}

func (s *source) close() error {
	var faults []error
	for i := len(s.closers) - 1; i >= 0; i-- {
		faults = append(faults, s.closers[i].Close())
	}
	s.closers = nil
	return errors.Join(faults...)
}

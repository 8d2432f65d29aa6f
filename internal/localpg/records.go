package localpg

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// clusterMajor returns the PostgreSQL version that the cluster needs, 0 when
// there is no cluster yet.
func (d *directory) clusterMajor() (int, error) {
	b, err := os.ReadFile(filepath.Join(d.data(), "PG_VERSION"))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	major, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return 0, fmt.Errorf("read version of %s: %w", d.data(), err)
	}
	return major, nil
}

// password returns the superuser's password, generated at first use. The
// server's account must be able to read the file for initdb; root can anyway.
func (d *directory) password() (string, error) {
	f, err := d.open("password", os.O_RDWR|os.O_CREATE)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(f)
	if err != nil {
		return "", err
	}
	if password := strings.TrimSpace(string(b)); password != "" {
		return password, nil
	}
	password := rand.Text()
	if _, err := f.WriteString(password + "\n"); err != nil {
		return "", err
	}
	return password, d.owner.give(f.Name())
}

// lastPort returns the port last used, 0 if there is none.
func (d *directory) lastPort() int {
	port := firstNumber(filepath.Join(d.path, "port"))
	if port < firstPort || port > lastPort {
		return 0
	}
	return port
}

func (d *directory) rememberPort(port int) error {
	f, err := d.open("port", os.O_CREATE|os.O_WRONLY|os.O_TRUNC)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, port)
	return errors.Join(err, f.Close())
}

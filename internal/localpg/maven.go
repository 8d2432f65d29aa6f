package localpg

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
)

const mavenCentral = "https://repo1.maven.org/maven2"

var mavenVersions = map[int]embeddedpostgres.PostgresVersion{
	14: embeddedpostgres.V14,
	15: embeddedpostgres.V15,
	16: embeddedpostgres.V16,
	17: embeddedpostgres.V17,
	18: embeddedpostgres.V18,
}

// mavenRelease is a release in a Maven repository.
func mavenRelease(version embeddedpostgres.PostgresVersion, repository string) release {
	return release{name: string(version), unpack: func(ctx context.Context, into string) error {
		port, err := anyPort(ctx)
		if err != nil {
			return err
		}
		// The library only downloads when it starts a server. The unknown encoding
		// makes initdb fail, so that no server runs outside the watchdog.
		beside := filepath.Dir(into)
		fetchErr := embeddedpostgres.NewDatabase(embeddedpostgres.DefaultConfig().
			Version(version).
			BinaryRepositoryURL(repository).
			CachePath(filepath.Join(beside, "archive")).
			BinariesPath(into).
			RuntimePath(filepath.Join(beside, "runtime")).
			DataPath(filepath.Join(beside, "data")).
			Encoding("fetch-only").
			Port(port).
			Logger(io.Discard)).Start()
		if _, err := os.Stat(filepath.Join(into, "bin", "initdb")); err != nil {
			return errors.Join(fetchErr, err)
		}
		return nil
	}}
}

// anyPort returns a free port, which the library requires before it downloads.
func anyPort(ctx context.Context) (uint32, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", net.JoinHostPort(loopback, "0"))
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }()
	return uint32(l.Addr().(*net.TCPAddr).Port), nil
}

package localpg

import (
	"cmp"
	"context"
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
		// makes initdb fail, so that no server runs outside the watchdog. It makes the
		// runtime directory after it has unpacked everything, and may leave a part if it
		// cannot, because the disk is full for example.
		beside := filepath.Dir(into)
		runtime := filepath.Join(beside, "runtime")
		fetchErr := embeddedpostgres.NewDatabase(embeddedpostgres.DefaultConfig().
			Version(version).
			BinaryRepositoryURL(repository).
			CachePath(filepath.Join(beside, "archive")).
			BinariesPath(into).
			RuntimePath(runtime).
			DataPath(filepath.Join(beside, "data")).
			Encoding("fetch-only").
			Port(port).
			Logger(io.Discard)).Start()
		if _, err := os.Stat(runtime); err != nil {
			return cmp.Or(fetchErr, err)
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

package localpg

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
)

// account is the user that the server runs as. PostgreSQL refuses to run as root.
type account struct {
	name       string
	credential *syscall.Credential // nil: the user of this process
}

func serverAccount() (account, error) {
	if os.Geteuid() != 0 {
		return account{name: "user " + strconv.Itoa(os.Geteuid())}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		// Signed, because nobody is -2 on macOS.
		uid, err := strconv.ParseInt(u.Uid, 10, 64)
		if err != nil {
			return account{}, fmt.Errorf("parse uid of %s: %w", name, err)
		}
		gid, err := strconv.ParseInt(u.Gid, 10, 64)
		if err != nil {
			return account{}, fmt.Errorf("parse gid of %s: %w", name, err)
		}
		if uid == 0 {
			continue
		}
		return account{
			name:       "user " + name,
			credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)},
		}, nil
	}
	return account{}, fmt.Errorf("PostgreSQL does not run as root, and there is no user postgres or nobody to run it: set DATABASE_URL or start as an ordinary user")
}

// give changes the owner of path to the account.
func (a account) give(path string) error {
	if a.credential == nil {
		return nil
	}
	return os.Lchown(path, int(a.credential.Uid), int(a.credential.Gid))
}

// can reports whether test(1) succeeds for the account with each of these options. It
// runs a process as the account, because mode bits do not show everything (ACLs,
// parents that cannot be entered).
func (a account) can(ctx context.Context, path string, tests ...string) bool {
	for _, test := range tests {
		if _, err := a.output(ctx, "/bin/sh", "-c", `test "$1" "$2"`, "sh", test, path); err != nil {
			return false
		}
	}
	return true
}

// output runs a short command as the account.
func (a account) output(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = "/"
	cmd.Env = environment()
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: a.credential}
	out, err := cmd.Output()
	return string(out), err
}

package dbpool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

func TestOfSQLState(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]Fault{
		"08000": Transient, "08003": Transient, "08006": Transient, "08P01": Transient,
		"40001": Transient, "40P01": Transient, "40002": Data, "40003": Transient,
		"53000": Transient, "53100": Transient, "53200": Transient, "53300": Transient, "53400": Program,
		"55P03": Transient, "55006": Program,
		"57014": Transient, "57P01": Transient, "57P02": Transient, "57P03": Transient, "57P04": Program, "57P05": Transient,
		"25P02": Program, "25P03": Transient, "25P04": Transient, "25006": Transient,
		"58030": Transient, "58P01": Program,
		"22003": Data, "22021": Data, "22P02": Data, "22P05": Data,
		"23502": Data, "23503": Data, "23505": Data, "23514": Data, "23P01": Data,
		"44000": Data, "P0001": Data,
		"0A000": Program, "21000": Program, "28P01": Program, "2BP01": Program, "3D000": Program, "3F000": Program,
		"42501": Program, "42601": Program, "42703": Program, "42P01": Program, "54000": Program, "XX000": Program, "": Program,
	} {
		err := fmt.Errorf("write activities: %w", &pgconn.PgError{Code: code})
		if got := Classify(err); got != want {
			t.Errorf("Classify(SQLSTATE %q) = %v, want %v", code, got, want)
		}
	}
}

func TestOfOtherErrors(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err  error
		want Fault
	}{
		"deadline":          {fmt.Errorf("acquire: %w", context.DeadlineExceeded), Transient},
		"reset":             {fmt.Errorf("read: %w", &net.OpError{Op: "read", Err: errors.New("connection reset by peer")}), Transient},
		"eof":               {fmt.Errorf("read: %w", io.ErrUnexpectedEOF), Transient},
		"closed connection": {errors.New("conn closed"), Transient},
		"cancelled caller":  {context.Canceled, Program},
		"plain":             {errors.New("index out of range"), Program},
	} {
		if got := Classify(c.err); got != c.want {
			t.Errorf("%s: Classify(%v) = %v, want %v", name, c.err, got, c.want)
		}
	}
}

package queue

import (
	"testing"

	"github.com/trainingmonkey/worker/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

package queue

import (
	"testing"

	"github.com/trainingmonkey/worker/test/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

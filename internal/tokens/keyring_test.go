package tokens_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/trainingmonkey/worker/internal/tokens"

	"pgregory.net/rapid"
)

// key returns a key of 32 equal bytes in base64.
func key(b byte) string {
	return base64.StdEncoding.EncodeToString([]byte(strings.Repeat(string(rune(b)), tokens.KeyBytes)))
}

func parse(t *testing.T, text string) *tokens.Keyring {
	t.Helper()
	ring, err := tokens.ParseKeyring(text)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func TestSealedValuesOpenOnlyInTheirPlace(t *testing.T) {
	t.Parallel()
	ring := parse(t, "new:"+key('n')+", old:"+key('o'))
	old := parse(t, "old:"+key('o'))
	rapid.Check(t, func(t *rapid.T) {
		plain, place, other := rapid.String().Draw(t, "plain"), rapid.String().Draw(t, "place"), rapid.String().Draw(t, "other")
		for _, by := range []*tokens.Keyring{ring, old} {
			sealed := by.Seal(place, plain)
			if got, err := ring.Open(place, sealed); err != nil || got != plain {
				t.Fatalf("Open(Seal(%q)) = %q, %v", plain, got, err)
			}
			if _, err := ring.Open(other, sealed); (err == nil) != (other == place) {
				t.Fatalf("opened in %q what was sealed for %q: %v", other, place, err)
			}
			if by.Seal(place, plain) == sealed {
				t.Fatal("two seals of one text are the same")
			}
			cut := rapid.IntRange(0, len(sealed)-1).Draw(t, "cut")
			if got, err := ring.Open(place, sealed[:cut]); tokens.Sealed(sealed[:cut]) && err == nil {
				t.Fatalf("a text cut to %d bytes opened as %q", cut, got)
			}
		}
	})
}

func TestErrors(t *testing.T) {
	t.Parallel()
	ring := parse(t, "k1:"+key('a'))
	sealed := ring.Seal("here", "a token")
	flipped := []byte(sealed)
	if at := len(flipped) - 10; flipped[at] == 'A' {
		flipped[at] = 'B'
	} else {
		flipped[at] = 'A'
	}
	for name, c := range map[string]struct {
		ring   *tokens.Keyring
		stored string
		want   error
	}{
		"another key":              {parse(t, "k2:"+key('a')), sealed, tokens.ErrUnknownKey},
		"another key of that name": {parse(t, "k1:"+key('b')), sealed, tokens.ErrForged},
		"altered":                  {ring, string(flipped), tokens.ErrForged},
		"shorter than nonce":       {ring, "enc:v1:k1:AAAA", tokens.ErrMalformed},
		"no base64":                {ring, "enc:v1:k1:*", tokens.ErrMalformed},
		"another version":          {ring, strings.Replace(sealed, "v1", "v2", 1), tokens.ErrMalformed},
		"nothing but a prefix":     {ring, "enc:", tokens.ErrMalformed},
	} {
		got, err := c.ring.Open("here", c.stored)
		if !errors.Is(err, c.want) || got != "" {
			t.Errorf("%s: Open = %q, %v, want %v", name, got, err, c.want)
		}
	}
	if got, err := ring.Open("here", "as it was before"); err != nil || got != "as it was before" {
		t.Errorf("an unsealed text opens as %q, %v", got, err)
	}
	if !strings.HasPrefix(sealed, ring.CurrentPrefix()) || ring.CurrentPrefix() != "enc:v1:k1:" {
		t.Errorf("prefix %s of %s", ring.CurrentPrefix(), sealed)
	}
}

func TestParseNeverQuotesAKey(t *testing.T) {
	t.Parallel()
	short := base64.StdEncoding.EncodeToString([]byte("sixteen bytes !!"))
	for text, want := range map[string]string{
		"":                                   "key 1: must be id:base64",
		key('a'):                             "key 1: must be id:base64",
		"a b:" + key('a'):                    "key 1: must be id:base64",
		"k1:" + key('a') + ",":               "key 2: must be id:base64",
		"k1:" + short:                        "key 1: must be 32 random bytes in base64; make one with: openssl rand -base64 32",
		"k1:" + key('a') + ",k2:" + "****":   "key 2: must be 32 random bytes",
		"k1:" + key('a') + ",k1:" + key('b'): "key 2: has the id of an earlier one",
	} {
		_, err := tokens.ParseKeyring(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse = %v, want %q", err, want)
		}
		if err != nil && (strings.Contains(err.Error(), key('a')) || strings.Contains(err.Error(), short)) {
			t.Errorf("the error has a key in it: %v", err)
		}
	}
	ring := parse(t, "k1:"+key('a')+",k2:"+key('b'))
	for _, text := range []string{fmt.Sprint(ring), fmt.Sprintf("%+v", ring), fmt.Sprintf("%#v", ring), fmt.Sprintf("%x", ring)} {
		if text != "keys k1, k2" {
			t.Errorf("a keyring prints as %s", text)
		}
	}
}

package tokens

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// prefix begins every sealed text, followed by the version of the format.
const prefix = "enc:"

// version is that of the format enc:v1:<key id>:<base64 of nonce, ciphertext and tag>, with
// a nonce of 12 bytes, a tag of 16, and the place as associated data.
const version = "v1"

// KeyBytes is the length of a key in bytes.
const KeyBytes = 32

// Errors of Open.
var (
	ErrUnknownKey = errors.New("it was encrypted with a key that is not configured")
	ErrMalformed  = errors.New("it is cut short or not in a format that is known")
	ErrForged     = errors.New("it does not decrypt: the key is another one of the same name, or the text was altered or belongs to another place")
)

// Keyring encrypts short texts with AES-256-GCM under named keys, so that a new key can
// be introduced while texts of the old one are still read. A text is bound to the place
// for which it was sealed: it does not open if it is moved to another place, cut off or
// altered. No error, log or dump of a Keyring shows a key or a text. Its methods may be
// called concurrently.
type Keyring struct {
	ids  []string // the first encrypts
	keys map[string]cipher.AEAD
}

var keyID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,32}$`)

// ParseKeyring reads keys in the format of the environment variable: id:base64,id:base64,
// each of 32 bytes. The first one encrypts, all of them decrypt. Errors name the position
// in the list and never quote it.
func ParseKeyring(text string) (*Keyring, error) {
	ring := &Keyring{keys: map[string]cipher.AEAD{}}
	for i, entry := range strings.Split(text, ",") {
		id, encoded, found := strings.Cut(strings.TrimSpace(entry), ":")
		if !found || !keyID.MatchString(id) {
			return nil, fmt.Errorf("key %d: must be id:base64 with an id of letters, digits, - and _", i+1)
		}
		key, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil || len(key) != KeyBytes {
			return nil, fmt.Errorf("key %d: must be %d random bytes in base64; make one with: openssl rand -base64 %d", i+1, KeyBytes, KeyBytes)
		}
		if _, again := ring.keys[id]; again {
			return nil, fmt.Errorf("key %d: has the id of an earlier one", i+1)
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", i+1, err)
		}
		// Random nonces are safe for 2³² texts under one key. A million users
		// whose two tokens are refreshed four times a day reach that in a year
		// and a half; a new key starts again from 0.
		if ring.keys[id], err = cipher.NewGCMWithRandomNonce(block); err != nil {
			return nil, fmt.Errorf("key %d: %w", i+1, err)
		}
		ring.ids = append(ring.ids, id)
	}
	return ring, nil
}

// Seal encrypts a text for a place with the current key.
func (k *Keyring) Seal(place, plain string) string {
	sealed := k.keys[k.Current()].Seal(nil, nil, []byte(plain), []byte(place))
	return k.CurrentPrefix() + base64.StdEncoding.EncodeToString(sealed)
}

// CurrentPrefix begins every text that the current key sealed.
func (k *Keyring) CurrentPrefix() string { return prefix + version + ":" + k.Current() + ":" }

// Current returns the id of the key that encrypts.
func (k *Keyring) Current() string { return k.ids[0] }

// Open returns the text that was sealed for the place. A text that is not sealed is
// returned unchanged, because rows contain such texts before encryption is introduced.
func (k *Keyring) Open(place, stored string) (string, error) {
	if !Sealed(stored) {
		return stored, nil
	}
	parts := strings.Split(stored, ":")
	if len(parts) != 4 || parts[1] != version {
		return "", ErrMalformed
	}
	key, known := k.keys[parts[2]]
	if !known {
		return "", fmt.Errorf("%w (%s)", ErrUnknownKey, printableID(parts[2]))
	}
	sealed, err := base64.StdEncoding.DecodeString(parts[3])
	if err != nil || len(sealed) < key.Overhead() {
		return "", ErrMalformed
	}
	plain, err := key.Open(nil, nil, sealed, []byte(place))
	if err != nil {
		return "", ErrForged
	}
	return string(plain), nil
}

// Sealed reports whether a stored text is encrypted.
func Sealed(stored string) bool { return strings.HasPrefix(stored, prefix) }

// printableID returns the id if it is valid, and otherwise a placeholder, because it
// could be part of a secret.
func printableID(id string) string {
	if keyID.MatchString(id) {
		return id
	}
	return "its id is not one"
}

// String names the keys.
func (k *Keyring) String() string { return "keys " + strings.Join(k.ids, ", ") }

// Format keeps the keys out of printed values, for any verb.
func (k *Keyring) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(k.String())) }

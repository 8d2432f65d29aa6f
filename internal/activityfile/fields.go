package activityfile

import (
	"encoding/json"
	"iter"
	"strings"
)

// fields yields the top-level fields of a JSON object in order. With encoding/json a
// repeated key would silently replace the first. It ends at the end of the object or of the
// data, so that it accepts valid JSON and any beginning of it.
func fields(object []byte) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		i := skipBlanks(object, 0)
		if i >= len(object) || object[i] != '{' {
			return
		}
		for {
			i = skipBlanks(object, i+1)
			if i >= len(object) || object[i] != '"' {
				return
			}
			end, ok := skipValue(object, i)
			if !ok {
				return
			}
			key := string(object[i+1 : end-1])
			if strings.IndexByte(key, '\\') >= 0 && json.Unmarshal(object[i:end], &key) != nil {
				return
			}
			i = skipBlanks(object, end)
			if i >= len(object) || object[i] != ':' {
				return
			}
			i = skipBlanks(object, i+1)
			if end, ok = skipValue(object, i); !ok || !yield(key, object[i:end]) {
				return
			}
			i = skipBlanks(object, end)
			if i >= len(object) || object[i] != ',' {
				return
			}
		}
	}
}

func skipBlanks(data []byte, i int) int {
	for i < len(data) && isBlank(data[i]) {
		i++
	}
	return i
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// skipValue returns the index after the JSON value that starts at i, and
// whether the value ends within the data.
func skipValue(data []byte, i int) (end int, ok bool) {
	if i >= len(data) {
		return i, false
	}
	if c := data[i]; c != '"' && c != '{' && c != '[' {
		for start := i; ; i++ {
			if i == len(data) {
				return i, false
			}
			if c := data[i]; isBlank(c) || c == ',' || c == '}' || c == ']' {
				return i, i > start
			}
		}
	}
	depth, quoted := 0, false
	for ; i < len(data); i++ {
		switch c := data[i]; {
		case quoted && c == '\\':
			i++
			continue
		case c == '"':
			quoted = !quoted
		case quoted:
			continue
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			depth--
		}
		if depth == 0 && !quoted {
			return i + 1, true
		}
	}
	return len(data), false
}

package wire

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxDescription is the most bytes that Describe returns: room for network metrics with a dozen sources.
const maxDescription = 4096

// Describe renders any payload in one line that is safe to print: what could move a cursor, change a direction of writing
// or isn't UTF-8 is escaped. What is too long is cut, with a note of its size.
func Describe(payload []byte) string {
	const room = maxDescription - len(" … (18446744073709551615 bytes)")
	var b strings.Builder
	for rest := payload; len(rest) > 0; {
		r, n := utf8.DecodeRune(rest)
		piece := string(rest[:n])
		switch {
		case r == utf8.RuneError && n == 1:
			piece = fmt.Sprintf(`\x%02x`, rest[0])
		case r == '\n':
			piece = `\n`
		case r == '\t':
			piece = `\t`
		case r == '\r':
			piece = `\r`
		case !unicode.IsPrint(r):
			piece = fmt.Sprintf(`\u%04x`, r)
		}
		if b.Len()+len(piece) > room {
			return fmt.Sprintf("%s … (%d bytes)", b.String(), len(payload))
		}
		b.WriteString(piece)
		rest = rest[n:]
	}
	return b.String()
}

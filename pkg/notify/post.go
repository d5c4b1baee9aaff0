package notify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// poster posts JSON to one address, which is never told: it may hold a secret.
type poster struct {
	label     string
	url       string
	authorise func(*http.Request) // nil for nothing
}

func (p poster) name() string { return p.label }

// client follows no redirection: what is signed for one receiver is nobody else's.
var client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

const maxAnswer = 200 // bytes that are told of an answer

func (p poster) post(ctx context.Context, body []byte, header http.Header) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(body))
	if err != nil {
		return errors.New("its address can't be used")
	}
	for name, values := range header {
		r.Header[name] = values
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "weir")
	if p.authorise != nil {
		p.authorise(r)
	}
	answer, err := client.Do(r)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // without the address
		}
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode >= 300 && answer.StatusCode < 400 {
		return redirected(answer)
	}
	text, _ := io.ReadAll(io.LimitReader(answer.Body, maxAnswer)) // it is for people only
	return judge(answer.StatusCode, string(text))
}

// redirected is to be mended by whoever runs the receiver or weir, so it is tried again. Of the new address only the host is told.
func redirected(answer *http.Response) error {
	where := "elsewhere"
	if u, err := answer.Location(); err == nil && u.Host != "" {
		where = printable(u.Scheme + "://" + u.Host)
	}
	return fmt.Errorf("%d %s: it leads to %.200s, and redirections aren't followed: give the address where they end",
		answer.StatusCode, http.StatusText(answer.StatusCode), where)
}

// judge tells what a status means. A client's error won't go away by itself, but for those that say so.
func judge(status int, text string) error {
	if status >= 200 && status < 300 {
		return nil
	}
	said := fmt.Sprintf("%d %s", status, http.StatusText(status))
	if text = strings.Join(strings.Fields(printable(text)), " "); text != "" {
		said += ": " + text
	}
	switch {
	case status >= 500, status == http.StatusRequestTimeout, status == http.StatusTooManyRequests, status == http.StatusTooEarly,
		status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusNotFound: // somebody may mend these
		return errors.New(said)
	}
	return fmt.Errorf("%w: %s", errRefused, said)
}

// printable leaves out what a terminal might obey.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0xfffd || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
}

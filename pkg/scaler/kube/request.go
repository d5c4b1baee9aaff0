package kube

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/weir-sensor/weir/pkg/wire"
)

const (
	maxBody   = 4 << 20
	busyTries = 5 // of a request that the server puts off
)

// apiError is what the server says against a request.
type apiError struct {
	code    int
	message string
}

func (e apiError) Error() string {
	text := fmt.Sprintf("the API server says %d: %.500s", e.code, wire.Describe([]byte(e.message)))
	switch e.code {
	case http.StatusUnauthorized:
		text += ": has the token or the certificate ended?"
	case http.StatusForbidden:
		text += ": see docs/operations.md for the role that weir needs"
	}
	return text
}

func isConflict(err error) bool {
	var e apiError
	return errors.As(err, &e) && e.code == http.StatusConflict
}

// isAnswer tells an error that the server has told from one by which its answer was lost.
func isAnswer(err error) bool { return errors.As(err, new(apiError)) }

// do makes a request, and again where the server is too busy: it has done nothing then.
func (a *api) do(ctx context.Context, method, path string, body, answer any) error {
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return err
		}
	}
	wait := 500 * time.Millisecond
	for try := 1; ; try++ {
		err := a.once(ctx, method, path, text, answer)
		var e apiError
		if try == busyTries || !errors.As(err, &e) || e.code != http.StatusTooManyRequests && e.code != http.StatusServiceUnavailable {
			return err
		}
		select {
		case <-time.After(wait):
			wait *= 2
		case <-ctx.Done():
			return err
		}
	}
}

func (a *api) once(ctx context.Context, method, path string, body []byte, answer any) error {
	req, err := http.NewRequestWithContext(ctx, method, a.server+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "weir")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if a.token != "" {
		req.Header.Set("Authorization", "Bearer "+a.token)
	}
	resp, err := a.client.Do(req)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err // without the method and the path
		}
		return fmt.Errorf("the API server %s can't be reached: %w", a.server, err)
	}
	defer func() { _ = resp.Body.Close() }() // all that counts was read
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return fmt.Errorf("the API server %s: %w", a.server, err)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return refusal(resp.StatusCode, text)
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return fmt.Errorf("the API server %s answers what isn't Kubernetes's: %.100q", a.server, text)
	}
	return nil
}

// refusal reads a Status object, or whatever a proxy says.
func refusal(code int, text []byte) error {
	var status struct{ Message string }
	if json.Unmarshal(text, &status) != nil || status.Message == "" {
		status.Message = string(text[:min(len(text), 300)])
	}
	return apiError{code, status.Message}
}

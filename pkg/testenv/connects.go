package testenv

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// ConnectTimeout is how long an innocent client waits for a connection and its answer.
const ConnectTimeout = 5 * time.Second

// ConnectOptions describe innocent clients.
type ConnectOptions struct {
	Target      netip.AddrPort
	N           int
	Concurrency int           // clients at a time; 0: 1
	Pause       time.Duration // of each client between two connections
	Every       time.Duration // a client comes each so often, whether or not those before have ended; Concurrency and Pause don't count then
	For         time.Duration // after so long no further connection begins, though N haven't; 0: all do
	Path        string        // ask for this page by HTTP, and want 200; "": close at once
}

// Result is how innocent clients fared.
type Result struct {
	OK, Failed int
	Latencies  []time.Duration // of the connects that worked, sorted
	Errors     []string        // the different ones
}

// Quantile is the latency that a part q (0 to 1) of the connections did not exceed.
func (r Result) Quantile(q float64) time.Duration {
	if len(r.Latencies) == 0 {
		return 0
	}
	return r.Latencies[int(q*float64(len(r.Latencies)-1))]
}

func (r Result) String() string {
	return fmt.Sprintf("%d of %d connected, median %s, worst %s, errors %q",
		r.OK, r.OK+r.Failed, r.Quantile(0.5).Round(time.Microsecond), r.Quantile(1).Round(time.Microsecond), r.Errors)
}

// Connects opens TCP connections from the host, by its own address: one after the other per client, or one each so often.
func Connects(t testing.TB, h *Host, o ConnectOptions) Result {
	t.Helper()
	var (
		mu     sync.Mutex
		result Result
		wg     sync.WaitGroup
		turns  = make(chan struct{}, o.N)
	)
	for range o.N {
		turns <- struct{}{}
	}
	close(turns)
	start := time.Now()
	visit := func() {
		latency, err := h.visit(o)
		mu.Lock()
		result.add(latency, err)
		mu.Unlock()
	}
	isOver := func() bool { return o.For > 0 && time.Since(start) > o.For }
	clients := max(1, o.Concurrency)
	if o.Every > 0 {
		clients = 0
		for i := 0; i < o.N && !isOver(); i++ {
			time.Sleep(time.Until(start.Add(time.Duration(i) * o.Every)))
			wg.Go(visit)
		}
	}
	for range clients {
		wg.Go(func() {
			for range turns {
				if isOver() {
					return
				}
				visit()
				time.Sleep(o.Pause)
			}
		})
	}
	wg.Wait()
	slices.Sort(result.Latencies)
	return result
}

// Add adds others' fates.
func (r *Result) Add(o Result) {
	r.OK += o.OK
	r.Failed += o.Failed
	r.Latencies = append(r.Latencies, o.Latencies...)
	slices.Sort(r.Latencies)
	for _, e := range o.Errors {
		r.addError(e)
	}
}

func (r *Result) addError(text string) {
	if !slices.Contains(r.Errors, text) {
		r.Errors = append(r.Errors, text)
	}
}

func (r *Result) add(latency time.Duration, err error) {
	if err == nil {
		r.OK++
		r.Latencies = append(r.Latencies, latency)
		return
	}
	r.Failed++
	text := err.Error()
	if _, after, found := strings.Cut(text, "->"); found {
		text = after // the client's port makes all errors different
	}
	r.addError(text)
}

// visit connects, reads a page if wanted, and tells how long the connect took.
func (h *Host) visit(o ConnectOptions) (time.Duration, error) {
	start := time.Now()
	ctx, cancel := context.WithDeadline(context.Background(), start.Add(ConnectTimeout))
	defer cancel()
	conn, err := h.Dial(ctx, "tcp", o.Target.String())
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	latency := time.Since(start)
	if o.Path == "" {
		return latency, nil
	}
	if err := conn.SetDeadline(start.Add(ConnectTimeout)); err != nil {
		return 0, err
	}
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.0\r\nHost: bank\r\n\r\n", o.Path); err != nil {
		return 0, err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return 0, err
	}
	if response.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("status %d", response.StatusCode)
	}
	return latency, nil
}

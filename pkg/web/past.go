package web

import (
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/weir-sensor/weir/pkg/history"
	"github.com/weir-sensor/weir/pkg/wire"
)

const (
	maxPoints     = 720  // of a chart
	maxMarks      = 1000 // of alerts, and of commands and statuses: the newest
	maxOlder      = 500
	maxHistory    = 90 * 24 * time.Hour
	maxDownloaded = 1_000_000
)

// span reads from and to, Unix milliseconds.
func span(r *http.Request) (from, to time.Time, err error) {
	q := r.URL.Query()
	var ms [2]int64
	for i, name := range []string{"from", "to"} {
		if ms[i], err = strconv.ParseInt(q.Get(name), 10, 64); err != nil || ms[i] < 0 || ms[i] > 1<<50 {
			return from, to, fmt.Errorf("%s: give Unix milliseconds", name)
		}
	}
	from, to = time.UnixMilli(ms[0]), time.UnixMilli(ms[1])
	if !from.Before(to) || to.Sub(from) > maxHistory {
		return from, to, errors.New("from must be before to, by 90 days at most")
	}
	return from, to, nil
}

// asked is what a request about the past names: a server, or none for public messages, and a tab.
func (w *Web) asked(rw http.ResponseWriter, r *http.Request, tab string) (root string, ok bool) {
	if w.history == nil {
		refuse(rw, http.StatusNotFound, "no history is kept: set web.history")
		return "", false
	}
	if tab != "" && !slices.Contains(tabs, tab) {
		refuse(rw, http.StatusNotFound, "no such tab")
		return "", false
	}
	if tab == tabPublic {
		return "", true
	}
	if root, ok = w.known(r.URL.Query().Get("root")); !ok {
		refuse(rw, http.StatusNotFound, "no such server")
	}
	return root, ok
}

// past answers with the charts of a time. Of many values the highest is shown: it is the peaks that matter.
func (w *Web) past(rw http.ResponseWriter, r *http.Request) {
	root, ok := w.asked(rw, r, "")
	if !ok {
		return
	}
	from, to, err := span(r)
	if err != nil {
		refuse(rw, http.StatusBadRequest, "%v", err)
		return
	}
	var all []*event
	for _, tab := range []string{tabCPU, tabRAM, tabNetwork, tabAlerts, tabStatus} {
		q := history.Query{Root: root, Kinds: []string{tab}, Since: from, Until: to, Step: to.Sub(from) / maxPoints}
		if tab == tabAlerts || tab == tabStatus {
			q.Step, q.Limit = 0, maxMarks
		}
		err := w.history.Each(r.Context(), q, func(x history.Record) error {
			if e, ok := fromRecord(x); ok {
				e.payload = nil
				all = append(all, e)
			}
			return nil
		})
		if err != nil {
			w.failed(rw, r, err)
			return
		}
	}
	slices.SortStableFunc(all, func(a, b *event) int { return cmp.Compare(a.At, b.At) })
	s := newSeries()
	for _, e := range all {
		s.add(e)
	}
	answer(rw, http.StatusOK, s)
}

// older answers with a tab's rows before one that the page has.
func (w *Web) older(rw http.ResponseWriter, r *http.Request) {
	tab := r.URL.Query().Get("tab")
	root, ok := w.asked(rw, r, cmp.Or(tab, "none"))
	if !ok {
		return
	}
	before, err := strconv.ParseInt(r.URL.Query().Get("before"), 10, 64)
	if err != nil || before < 0 {
		refuse(rw, http.StatusBadRequest, "before: give Unix milliseconds")
		return
	}
	all, err := w.newest(r.Context(), history.Query{Root: root, Kinds: []string{tab}, Until: time.UnixMilli(before), Limit: maxOlder})
	if err != nil {
		w.failed(rw, r, err)
		return
	}
	slices.Reverse(all)
	answer(rw, http.StatusOK, light(all))
}

// newest reads what a query finds, newest first, as far as there is room for in memory.
func (w *Web) newest(ctx context.Context, q history.Query) ([]*event, error) {
	all, bytes := []*event{}, 0
	enough := errors.New("enough")
	err := w.history.Each(ctx, q, func(x history.Record) error {
		if bytes += len(x.Payload); bytes > maxText && len(all) > 0 {
			return enough
		}
		if e, ok := fromRecord(x); ok {
			e.payload = nil
			all = append(all, e)
		}
		return nil
	})
	if errors.Is(err, enough) {
		err = nil
	}
	return all, err
}

// download writes a tab's rows of a time as CSV or JSON, newest first, as they are read.
func (w *Web) download(rw http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	tab, form := q.Get("tab"), q.Get("form")
	root, ok := w.asked(rw, r, cmp.Or(tab, "none"))
	if !ok {
		return
	}
	from, to, err := span(r)
	if err != nil || form != "csv" && form != "json" {
		refuse(rw, http.StatusBadRequest, "give from and to in Unix milliseconds, and a form: csv or json")
		return
	}
	name := fmt.Sprintf("weir-%s-%s.%s", tab, to.UTC().Format("20060102T150405Z"), form)
	h := rw.Header()
	h.Set("Content-Disposition", `attachment; filename="`+name+`"`)
	h.Set("Cache-Control", "no-store")
	out := patient{rw, http.NewResponseController(rw)}
	write, end := writeJSON(out)
	h.Set("Content-Type", "application/json")
	if form == "csv" {
		write, end = writeCSV(out)
		h.Set("Content-Type", "text/csv; charset=utf-8")
	}
	err = w.history.Each(r.Context(), history.Query{Root: root, Kinds: []string{tab}, Since: from, Until: to, Limit: maxDownloaded}, write)
	if err == nil {
		err = end()
	}
	_ = out.control.SetWriteDeadline(time.Time{}) // the connection may be asked for more
	if err != nil && r.Context().Err() == nil {
		w.log.Warn("a download broke off", "err", err)
		panic(http.ErrAbortHandler) // so that the browser doesn't take it for whole
	}
}

// patient gives up a browser that takes nothing for a while: what is read of the history meanwhile keeps its file from being tidied up.
type patient struct {
	http.ResponseWriter
	control *http.ResponseController
}

var downloadWait = 30 * time.Second // shorter in tests

func (p patient) Write(b []byte) (int, error) {
	if err := p.control.SetWriteDeadline(time.Now().Add(downloadWait)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return p.ResponseWriter.Write(b)
}

// writeJSON writes an array of an object a line, with the payload as it came if it is JSON, else as text.
func writeJSON(w io.Writer) (write func(history.Record) error, end func() error) {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	before := "["
	write = func(x history.Record) error {
		if _, err := io.WriteString(w, before); err != nil {
			return err
		}
		before = ","
		row := struct {
			At      string `json:"at"`
			Topic   string `json:"topic"`
			Payload any    `json:"payload"`
			Refused string `json:"refused,omitempty"`
		}{stamp(x.At), x.Topic, string(x.Payload), x.Refused}
		if json.Valid(x.Payload) {
			row.Payload = json.RawMessage(x.Payload)
		}
		return e.Encode(row)
	}
	end = func() error {
		if before == "[" {
			before = "[]"
		} else {
			before = "]"
		}
		_, err := io.WriteString(w, before+"\n")
		return err
	}
	return write, end
}

// writeCSV writes RFC 4180's rows. A spreadsheet would run what begins like a formula: an apostrophe tells it not to.
func writeCSV(w io.Writer) (write func(history.Record) error, end func() error) {
	c := csv.NewWriter(w)
	started := false
	start := func() error {
		if started {
			return nil
		}
		started = true
		return c.Write([]string{"at", "topic", "payload", "refused"})
	}
	write = func(x history.Record) error {
		if err := start(); err != nil {
			return err
		}
		if err := c.Write([]string{stamp(x.At), harmless(wire.Describe([]byte(x.Topic))), harmless(wire.Describe(x.Payload)), harmless(wire.Describe([]byte(x.Refused)))}); err != nil {
			return err
		}
		return nil
	}
	end = func() error {
		err := start()
		c.Flush()
		return errors.Join(err, c.Error())
	}
	return write, end
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

func harmless(s string) string {
	if s != "" && (s[0] == '=' || s[0] == '+' || s[0] == '-' || s[0] == '@' || s[0] == '\t') {
		return "'" + s
	}
	return s
}

func (w *Web) failed(rw http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		return
	}
	w.complaints.Warn(time.Now(), "the history can't be read", "err", err)
	refuse(rw, http.StatusInternalServerError, "the history can't be read now")
}

package web

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/weir-sensor/weir/pkg/audit"
	"github.com/weir-sensor/weir/pkg/bus"
	"github.com/weir-sensor/weir/pkg/web/signin"
	"github.com/weir-sensor/weir/pkg/wire"
)

const (
	maxRequest  = 4 << 10
	publishWait = 3 * time.Second
	origin      = "web"
)

// originOf says on the wire whose command it is.
func originOf(p signin.Person) string {
	if p.Name == "" {
		return origin
	}
	return origin + ":" + p.Name
}

// request is a command as the page sends it.
type request struct {
	Root       string  `json:"root"`
	Command    string  `json:"command"`
	Source     string  `json:"source"`
	TTLSeconds float64 `json:"ttl_seconds"`
	Reason     string  `json:"reason"`
}

// command publishes one and answers with its ID; what becomes of it comes as a status, like any other.
func (w *Web) command(rw http.ResponseWriter, r *http.Request) {
	who, _ := w.who(r) // signedIn has asked
	if !who.Operator() {
		refuse(rw, http.StatusForbidden, "you may look, not command: your role is %s", who.Role)
		return
	}
	d := json.NewDecoder(http.MaxBytesReader(rw, r.Body, maxRequest))
	d.DisallowUnknownFields()
	var asked request
	if err := d.Decode(&asked); err != nil || d.More() {
		refuse(rw, http.StatusBadRequest, "not a command")
		return
	}
	root, ok := w.known(asked.Root)
	if !ok {
		refuse(rw, http.StatusNotFound, "no such server")
		return
	}
	c := wire.Command{
		Command: asked.Command, ID: rand.Text(), Origin: originOf(who), Source: asked.Source, TTLSeconds: asked.TTLSeconds, Reason: asked.Reason,
		Timestamp: wire.Timestamp(time.Now()),
	}
	payload, err := wire.Encode(c)
	if err == nil {
		_, err = wire.DecodeCommand(payload) // what the controller would say
	}
	if err != nil {
		refuse(rw, http.StatusBadRequest, "%v", err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), publishWait)
	defer cancel()
	err = w.bus.Publish(ctx, bus.Publication{Topic: root + "/control/command", Payload: payload, Delivery: bus.Confirmed})
	w.log.Info("command", "audit", true, "user", who.Name, "role", who.Role, "from", who.From, "command", c.Command,
		"source", c.Source, "ttl_seconds", c.TTLSeconds, "server", root, "id", c.ID, "err", err)
	e := audit.Event{
		Kind: "sent", Command: c.Command, Source: c.Source, Servers: c.Servers(), ID: c.ID, Origin: c.Origin, Server: root, User: who.Name, Role: string(who.Role), From: who.From, Result: wire.Success,
	}
	if err != nil {
		e.Result, e.Detail = wire.Failure, err.Error()
	}
	w.audit.Note(time.Now(), e)
	switch {
	case errors.Is(err, bus.ErrAway):
		refuse(rw, http.StatusServiceUnavailable, "the broker is away: nothing was sent")
	case err != nil:
		refuse(rw, http.StatusBadGateway, "the broker didn't confirm it: %v", err)
	default:
		answer(rw, http.StatusAccepted, map[string]string{"id": c.ID})
	}
}

// known finds a server by the name that browsers know it by.
func (w *Web) known(shown string) (root string, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for root := range w.servers {
		if wire.Describe([]byte(root)) == shown {
			return root, true
		}
	}
	return "", false
}

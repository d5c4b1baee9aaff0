package bus

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"
)

// A renewing subscriber loses nothing, keeps the order, and handles nothing twice but what is alike.
func TestRenewedSubscriber(t *testing.T) {
	addr, _ := startBroker(t, "127.0.0.1:0")
	var connects atomic.Int32
	sub := connect(t, addr, func(o *Options) { o.OnConnect = func() { connects.Add(1) } })
	pub := connected(t, connect(t, addr))
	numbers, alike := make(chan Message, 100_000), make(chan Message, 100_000)
	must(t, sub.Subscribe("numbers", func(m Message) { numbers <- m }))
	must(t, sub.Subscribe("alike", func(m Message) { alike <- m }))
	connected(t, sub)

	const rounds = 3
	sent := 0
	for round := range int32(rounds) {
		sub.Renew()
		for begin := time.Now(); connects.Load() < round+2 || time.Since(begin) < 3*drain; sent++ { // before, over both connections, and after
			must(t, pub.Publish(t.Context(), Publication{Topic: "numbers", Payload: fmt.Append(nil, sent), Delivery: Confirmed}))
			must(t, pub.Publish(t.Context(), Publication{Topic: "alike", Payload: []byte("the same"), Delivery: Confirmed}))
		}
	}
	for i := range sent {
		if n := string(next(t, numbers).Payload); n != fmt.Sprint(i) {
			t.Fatalf("message %d is %s", i, n)
		}
		next(t, alike)
	}
	time.Sleep(100 * time.Millisecond)
	if more := len(numbers); more > 0 {
		t.Errorf("%d messages came twice", more)
	}
	if n := connects.Load(); n != rounds+1 {
		t.Errorf("%d connections", n)
	}
}

// A renewing publisher loses nothing, and nobody notices.
func TestRenewedPublisher(t *testing.T) {
	addr, _ := startBroker(t, "127.0.0.1:0")
	var connects atomic.Int32
	pub := connected(t, connect(t, addr, func(o *Options) { o.OnConnect = func() { connects.Add(1) } }))
	sub := connect(t, addr)
	got := make(chan Message, 100_000)
	must(t, sub.Subscribe("#", func(m Message) { got <- m }))
	connected(t, sub)
	sent := 0
	for round := range int32(2) {
		pub.Renew()
		for begin := time.Now(); connects.Load() < round+2 || time.Since(begin) < 3*drain; sent++ {
			must(t, pub.Publish(t.Context(), Publication{Topic: "x", Payload: fmt.Append(nil, sent), Delivery: Confirmed}))
		}
	}
	all := map[string]bool{}
	for range sent {
		all[string(next(t, got).Payload)] = true
	}
	if len(all) != sent {
		t.Errorf("%d of %d messages came", len(all), sent)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestRenewWithANameOfItsOwn(t *testing.T) {
	addr, _ := startBroker(t, "127.0.0.1:0")
	connects := make(chan struct{}, 9)
	c := connect(t, addr, func(o *Options) { o.ClientID = "me"; o.OnConnect = func() { connects <- struct{}{} } })
	got := collect(t, c, "x")
	for range 2 {
		connected(t, c)
		<-connects
		must(t, c.Publish(t.Context(), Publication{Topic: "x", Payload: []byte("1"), Delivery: Eventually}))
		next(t, got)
		c.Renew()
	}
}

// A broker that doesn't take what is new leaves the old connection alone.
func TestRenewIsRefused(t *testing.T) {
	addr, _ := startBroker(t, "127.0.0.1:0")
	var asked atomic.Int32
	c := connect(t, addr, func(o *Options) {
		o.Credentials = func() Credentials {
			if asked.Add(1) > 1 {
				return Credentials{Username: string(make([]byte, 1<<16))} // no packet holds it
			}
			return Credentials{}
		}
	})
	got := collect(t, c, "x")
	connected(t, c)
	c.Renew()
	for asked.Load() < 2 {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(50 * time.Millisecond)
	if !c.Connected() {
		t.Error("the old connection is gone")
	}
	must(t, c.Publish(t.Context(), Publication{Topic: "x", Payload: []byte("1"), Delivery: Confirmed}))
	next(t, got)
}

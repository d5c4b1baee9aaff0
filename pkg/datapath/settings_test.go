package datapath

import (
	"errors"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestFallbackPutsTheSettingsBackStepByStep(t *testing.T) {
	b := fallbackBank(t)
	b.arm()
	for range 3 {
		must(t, b.tend())
		b.wantSettings(armed)
	}
	b.age(fallbackHold)
	must(t, b.tend())
	b.wantSettings([2]string{"1", "2"}) // handshakes under way need the timestamps
	b.wantFallback(FallbackIdle)
	must(t, b.tend())
	b.wantSettings([2]string{"1", "2"})
	b.age(fallbackGrace)
	must(t, b.tend())
	b.wantSettings(notTouched)
	b.arm() // and again
	b.age(fallbackHold)
	must(t, b.tend())
	b.arm() // in between
	b.wantFallback(FallbackOn)
	b.Bank.Do(t, func() { must(t, NewSwitch(b.opts.BPFFS, b.opts.Interface).EndFallback()) })
	b.wantSettings(notTouched)
	b.wantFallback(FallbackIdle)
}

// Whoever changed the settings has died: nothing but the pins remembers them.
func TestSettingsOfADeadProcessArePutBack(t *testing.T) {
	eachFallback(t, func(t *testing.T, b *challenged) { b.dyingPutsSettingsBack(t) })
}

func (b *challenged) dyingPutsSettingsBack(t *testing.T) {
	b.serve(b.listenFallback())
	for name, end := range map[string]func(){
		"unload":                   func() { _, err := Unload(b.opts.BPFFS, b.opts.Interface); must(t, err) },
		"unload --all, at the end": nil,
		"start after the flood": func() {
			b.age(fallbackHold)
			a, err := Attach(b.opts)
			must(t, errors.Join(err, a.Close()))
		},
		"unload while they were being put back": func() {
			b.age(fallbackHold)
			must(t, b.tend())
			_, err := Unload(b.opts.BPFFS, b.opts.Interface)
			must(t, err)
		},
		"unload after dying between note and change": func() {
			b.reset()
			_, err := Unload(b.opts.BPFFS, b.opts.Interface)
			must(t, err)
		},
	} {
		b.arm()
		if end != nil {
			b.Bank.Do(t, end)
		} else {
			_, err := UnloadAll(b.opts.BPFFS) // from another network namespace
			must(t, err)
		}
		t.Log(name)
		b.wantSettings(notTouched)
		b.Bank.Do(t, func() {
			a, err := Attach(b.opts)
			must(t, err)
			must(t, a.Close())
		})
		b.set(ChallengeAlways)
	}
}

func TestAStartDuringTheFloodKeepsTheFallback(t *testing.T) {
	b := fallbackBank(t)
	b.arm()
	b.Bank.Do(t, func() {
		a, err := Attach(b.opts)
		must(t, err)
		must(t, a.Close())
	})
	b.wantSettings(armed)
	b.wantFallback(FallbackOn)
}

func TestWhatSomebodyElseSetsStays(t *testing.T) {
	b := fallbackBank(t)
	b.arm()
	b.Bank.Sysctl(t, "net/ipv4/tcp_syncookies", "0")
	if err := b.tend(); !errors.Is(err, ErrNoFallback) {
		t.Errorf("says %v", err)
	}
	b.wantSettings([2]string{"0", "1"})
	b.wantFallback(FallbackRefused)
	must(t, b.tend()) // said once
	b.wantSettings([2]string{"0", "1"})
	settle()
	before := b.txs()
	roundTrip(t, b.dial(b.Bank.Addr(bankPort)))
	if n := b.txs() - before; n != 0 {
		t.Errorf("%d SYNs were answered without cookies to be accepted", n)
	}
	b.age(fallbackHold)
	must(t, b.tend())
	b.Bank.Do(t, func() { _, err := Unload(b.opts.BPFFS, b.opts.Interface); must(t, err) })
	b.wantSettings([2]string{"0", "1"})
}

func TestFallbackKeepsAnAdministratorsOwnSettings(t *testing.T) {
	b := fallbackBank(t)
	b.Bank.Sysctl(t, "net/ipv4/tcp_syncookies", "2")
	b.arm()
	b.Bank.Do(t, func() { _, err := Unload(b.opts.BPFFS, b.opts.Interface); must(t, err) })
	b.wantSettings([2]string{"2", "1"})
}

func TestNoFallbackWhereSettingsCannotBeWritten(t *testing.T) {
	b := fallbackBank(t)
	roundTrip(t, b.dial(b.Bank.Addr(bankPort)))
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the mounts are this thread's alone
		done <- errors.Join(
			unix.Unshare(unix.CLONE_NEWNS|unix.CLONE_FS),
			unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""),
			unix.Mount("/proc/sys", "/proc/sys", "", unix.MS_BIND, ""),
			unix.Mount("", "/proc/sys", "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""),
			b.tend(),
		)
	}()
	if err := <-done; !errors.Is(err, ErrNoFallback) || !errors.Is(err, unix.EROFS) {
		t.Errorf("says %v", err)
	}
	b.wantSettings(notTouched)
	b.wantFallback(FallbackRefused)
	settle()
	before := b.txs()
	roundTrip(t, b.dial(b.Bank.Addr(bankPort)))
	if n := b.txs() - before; n != 0 {
		t.Errorf("%d SYNs were answered", n)
	}
	b.age(2 * time.Minute)
	must(t, b.tend())
	b.wantFallback(FallbackIdle)
}

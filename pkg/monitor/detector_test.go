package monitor

import (
	"math"
	"testing"
	"time"

	"github.com/weir-sensor/weir/pkg/wire"
)

// rig feeds a detector and notes what becomes of the alert: r raised, m reminded, c cleared, . nothing.
type rig struct {
	d   *Detector
	now time.Time
	got []byte
	ev  Event // the last
}

func newRig(of metric) *rig {
	return &rig{d: NewDetector(DefaultConfig().detector(of)), now: time.Unix(1_700_000_000, 0)}
}

func (r *rig) at(after time.Duration, early bool, values ...float64) *rig {
	for _, v := range values {
		r.now = r.now.Add(after)
		e, ok := r.d.Observe(r.now, v, early)
		if !ok {
			r.got = append(r.got, '.')
			continue
		}
		r.ev = e
		r.got = append(r.got, map[string]byte{wire.AlertRaised: 'r', wire.AlertReminder: 'm', wire.AlertCleared: 'c'}[e.State])
	}
	return r
}

func (r *rig) regular(values ...float64) *rig { return r.at(5*time.Second, false, values...) }
func (r *rig) early(values ...float64) *rig   { return r.at(time.Second, true, values...) }

func times(n int, v float64) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = v
	}
	return out
}

func TestDetectorRaisesAndClears(t *testing.T) {
	for _, c := range []struct {
		name string
		of   metric
		feed []float64
		want string
	}{
		{"one sample over is no alert", metricCPU, []float64{50, 95, 50, 50, 95, 50, 50}, "......."},
		{"two of three are", metricCPU, []float64{50, 95, 50, 95}, "...r"},
		{"at the threshold is not over", metricCPU, []float64{80, 80, 80, 80}, "...."},
		{"the edge doesn't flap", metricCPU, []float64{81, 81, 79, 81, 79, 79, 79, 70, 81}, ".r......."},
		{"three in a row below the clear level clear", metricCPU, []float64{90, 90, 63, 63, 65, 63, 63, 63, 90, 90}, ".r.....c.r"},
		{"at the clear level doesn't", metricCPU, []float64{90, 90, 64, 64, 64, 64}, ".r...."},
		{"SYNs raise at once", metricSYN, []float64{10, 701}, ".r"},
		{"but over the threshold only", metricSYN, []float64{700, 700}, ".."},
		{"no spike before normal is known", metricSYN, append(times(11, 5), 690), "............"},
		{"a spike of ten times", metricSYN, append(times(12, 30), 350), "............r"},
		{"nine times is none", metricSYN, append(times(12, 30), 270), "............."},
		{"ten times nothing is none", metricSYN, append(times(20, 0), 199, 199), "......................"},
		{"from the floor up it is", metricSYN, append(times(20, 0), 200), "....................r"},
		{"connections need two of three", metricConnections, []float64{401, 100, 401}, "..r"},
		{"what is no number is no sample", metricCPU, []float64{math.NaN(), math.Inf(1), -1, 90, 90}, "....r"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := string(newRig(c.of).regular(c.feed...).got); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestDetectorRemindsEachMinute(t *testing.T) {
	r := newRig(metricSYN).regular(times(37, 900)...)
	if got, want := string(r.got), "r...........m...........m...........m"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if d := r.ev.At.Sub(r.ev.Since); d != 3*time.Minute {
		t.Errorf("the third reminder says since %v ago", d)
	}
}

func TestDetectorEvent(t *testing.T) {
	r := newRig(metricSYN).regular(times(12, 30)...).regular(350)
	if e := r.ev; e.Cause != CauseSpike || e.Value != 350 || math.Abs(e.Level-300) > 1e-6 || math.Abs(e.Normal-30) > 1e-6 {
		t.Errorf("spike: %+v", e)
	}
	r = newRig(metricSYN).regular(1000)
	if e := r.ev; e.Cause != CauseThreshold || e.Level != 700 || e.Normal != 0 || !e.Since.Equal(e.At) {
		t.Errorf("threshold: %+v", e)
	}
}

func TestDetectorDoesNotLearnAnAttack(t *testing.T) {
	r := newRig(metricSYN).regular(times(60, 30)...)
	before := r.d.Normal()
	r.regular(times(200, 5000)...)
	if after := r.d.Normal(); after != before {
		t.Errorf("normal went from %v to %v", before, after)
	}
}

func TestDetectorDoesNotLearnEarlySamples(t *testing.T) {
	r := newRig(metricSYN).regular(times(60, 30)...)
	before := r.d.Normal()
	r.early(times(60, 250)...)
	if after := r.d.Normal(); after != before {
		t.Errorf("normal went from %v to %v", before, after)
	}
	if r.early(701); r.ev.State != wire.AlertRaised {
		t.Error("an early sample doesn't raise")
	}
}

func TestDetectorSilenceIsNoRecovery(t *testing.T) {
	r := newRig(metricSYN).regular(900, 10, 10).at(time.Hour, false, 10)
	if !r.d.Raised() {
		t.Error("cleared by samples from before and after a silence")
	}
	if r.regular(10, 10); r.d.Raised() {
		t.Error("not cleared by three after it")
	}
	r = newRig(metricCPU).regular(95).at(time.Hour, false, 95)
	if r.d.Raised() {
		t.Error("raised by samples an hour apart")
	}
}

func TestDetectorClockSetBack(t *testing.T) {
	r := newRig(metricSYN).regular(900).at(-24*time.Hour, false, 900).regular(times(12, 900)...)
	if r.ev.State != wire.AlertReminder {
		t.Error("no reminder within a minute after the clock was set back by a day")
	}
}

func TestBaselineWeighsByTime(t *testing.T) {
	b := baseline{halfLife: time.Minute, longest: time.Hour}
	b.learn(time.Minute, 100)
	b.learn(time.Minute, 0)
	// Weights of a quarter and a half, divided by their sum.
	if got := b.mean(); math.Abs(got-100.0/3) > 1e-9 {
		t.Errorf("mean %v", got)
	}
}

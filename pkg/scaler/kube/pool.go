// Package kube scales a Deployment or a StatefulSet by the scale subresource of Kubernetes's API. It speaks plain HTTP: client-go would
// make the whole program need a fifth more memory.
package kube

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-sensor/weir/pkg/scaler"
	"github.com/weir-sensor/weir/pkg/wire"
)

// Pool is a workload. Its servers are replicas. It is for one operation at a time, beside Size.
type Pool struct {
	credentials Credentials
	namespace   string
	kind, name  string
	known       atomic.Int64 // replicas, as Size found them or Resize set them last; unknown at first
}

const unknown = -1

var (
	kinds    = map[string]string{"deployment": "deployments", "statefulset": "statefulsets"}
	validate = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$`) })
)

// New returns a Pool of a workload like deployment/bank. Without a namespace that of the credentials is taken, which are read whenever they
// are needed.
func New(workload, namespace string, c Credentials) (*Pool, error) {
	kind, name, _ := strings.Cut(workload, "/")
	if kinds[kind] == "" || !validate().MatchString(name) {
		return nil, fmt.Errorf("scaling.kubernetes.workload %.100q: give deployment/NAME or statefulset/NAME", workload)
	}
	if namespace != "" && !validate().MatchString(namespace) {
		return nil, fmt.Errorf("scaling.kubernetes.namespace %.100q: give a name", namespace)
	}
	c.pod = podDir
	p := &Pool{credentials: c, namespace: namespace, kind: kinds[kind], name: name}
	p.known.Store(unknown)
	return p, nil
}

// Check tells whether the credentials can be read and used as they are now.
func (p *Pool) Check() error {
	_, err := p.credentials.read()
	return err
}

// scale is autoscaling/v1's Scale, as far as it counts.
type scale struct {
	Kind       string `json:"kind"`
	APIVersion string `json:"apiVersion"`
	Metadata   struct {
		Name            string `json:"name"`
		Namespace       string `json:"namespace"`
		ResourceVersion string `json:"resourceVersion"`
	} `json:"metadata"`
	Spec struct {
		Replicas int `json:"replicas"`
	} `json:"spec"`
}

// workload is apps/v1's Deployment or StatefulSet.
type workload struct {
	Metadata struct {
		Generation int64 `json:"generation"`
	} `json:"metadata"`
	Spec struct {
		Replicas *int `json:"replicas"`
	} `json:"spec"`
	Status struct {
		ObservedGeneration int64 `json:"observedGeneration"`
		Replicas           int   `json:"replicas"`
		AvailableReplicas  int   `json:"availableReplicas"`
		Conditions         []struct{ Type, Status, Message string }
	} `json:"status"`
}

// trouble is what its conditions say against it.
func (w *workload) trouble() string {
	var all []string
	for _, c := range w.Status.Conditions {
		if c.Type == "ReplicaFailure" && c.Status == "True" || c.Type != "ReplicaFailure" && c.Status == "False" {
			all = append(all, c.Message)
		}
	}
	if all == nil {
		return ""
	}
	return fmt.Sprintf(": %.500s", wire.Describe([]byte(strings.Join(all, "; "))))
}

const (
	look      = 500 * time.Millisecond
	conflicts = 5 // with others who change the workload, in a row
)

// Size is how many replicas are asked for.
func (p *Pool) Size(ctx context.Context) (int, error) {
	a, err := p.credentials.read()
	if err != nil {
		return 0, err
	}
	var s scale
	if err := a.do(ctx, "GET", p.path(a)+"/scale", nil, &s); err != nil {
		return 0, err
	}
	p.known.Store(int64(s.Spec.Replicas))
	return s.Spec.Replicas, nil
}

func (p *Pool) path(a *api) string {
	namespace := p.namespace
	if namespace == "" {
		namespace = a.namespace
	}
	if namespace == "" {
		namespace = "default"
	}
	return "/apis/apps/v1/namespaces/" + namespace + "/" + p.kind + "/" + p.name
}

// Resize asks for so many replicas and waits until they are available, or, if there are fewer than before, until the others are gone from
// the workload.
func (p *Pool) Resize(ctx context.Context, to int) (string, error) {
	a, err := p.credentials.read()
	if err != nil {
		return "", err
	}
	from, err := p.ask(ctx, a, to)
	if err != nil {
		return "", err
	}
	what := fmt.Sprintf("%s/%s", strings.TrimSuffix(p.kind, "s"), p.name)
	if err := p.await(ctx, a, to, to < from); err != nil {
		if from == to {
			return "", fmt.Errorf("%w: %w", scaler.ErrUnwell, err)
		}
		return "", err
	}
	return fmt.Sprintf("%s has %d replicas", what, to), nil
}

// ask sets the number, on the version that was read, if it is the number that was counted before: nobody else's change is overwritten.
func (p *Pool) ask(ctx context.Context, a *api, to int) (from int, err error) {
	for range conflicts {
		var s scale
		if err := a.do(ctx, "GET", p.path(a)+"/scale", nil, &s); err != nil {
			return 0, err
		}
		from := s.Spec.Replicas
		if known := int(p.known.Swap(int64(from))); known != unknown && from != known && from != to {
			return 0, errOthers{known, from}
		}
		if from == to {
			return from, nil
		}
		s.Kind, s.APIVersion, s.Spec.Replicas = "Scale", "autoscaling/v1", to
		err = a.do(ctx, "PUT", p.path(a)+"/scale", s, &s)
		switch {
		case err == nil:
			p.known.Store(int64(to))
		case !isAnswer(err): // it may have been done
			p.known.Store(unknown)
		}
		if err == nil || !isConflict(err) {
			return from, err
		}
	}
	return 0, err
}

func (p *Pool) await(ctx context.Context, a *api, to int, fewer bool) error {
	for {
		var w workload
		err := a.do(ctx, "GET", p.path(a), nil, &w)
		var refused apiError
		if errors.As(err, &refused) { // else the server may be back in time
			return err
		}
		if err == nil {
			if w.replicas() != to {
				return errOthers{to, w.replicas()}
			}
			st := w.Status
			if st.ObservedGeneration >= w.Metadata.Generation && st.Replicas == to && (fewer || st.AvailableReplicas >= to) {
				return nil
			}
			err = fmt.Errorf("%d of %d replicas are available%s", st.AvailableReplicas, to, w.trouble())
		}
		select {
		case <-time.After(look):
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		}
	}
}

// replicas are those asked for; Kubernetes takes one where nothing is said.
func (w *workload) replicas() int {
	if w.Spec.Replicas == nil {
		return 1
	}
	return *w.Spec.Replicas
}

// errOthers is a number that was changed meanwhile.
type errOthers struct{ from, to int }

func (e errOthers) Error() string {
	return fmt.Sprintf("%v, from %d to %d just now: leave it to one, weir or an autoscaler", scaler.ErrOthers, e.from, e.to)
}

func (errOthers) Unwrap() error { return scaler.ErrOthers }

package tc

import (
	"errors"
	"sync"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// requester is request.
type requester func(kind, flags int, parts ...nl.NetlinkRequestData) ([][]byte, error)

// Open reads actions over one socket: to make one for each look costs more than the look. It is of the network namespace where it is used
// first. The zero value is ready.
type Open struct {
	mu     sync.Mutex
	handle *nl.SocketHandle
}

// ListPolice reads all police actions of the network namespace.
func (o *Open) ListPolice() ([]Police, error) { return listPolice(o.request) }

// GetPolice reads an action. ok is false if there is none.
func (o *Open) GetPolice(index uint32) (p Police, ok bool, err error) {
	return getPolice(o.request, index)
}

func (o *Open) request(kind, flags int, parts ...nl.NetlinkRequestData) ([][]byte, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.handle == nil {
		s, err := nl.Subscribe(unix.NETLINK_ROUTE) // to nothing
		if err != nil {
			return nil, err
		}
		o.handle = &nl.SocketHandle{Socket: s}
		if err := s.SetReceiveTimeout(&nl.SocketTimeoutTv); err != nil {
			o.close()
			return nil, err
		}
	}
	req := nl.NewNetlinkRequest(kind, flags)
	req.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: o.handle}
	for _, p := range parts {
		req.AddData(p)
	}
	answers, err := req.Execute(unix.NETLINK_ROUTE, 0)
	if err != nil && !gone(err) && !errors.Is(err, unix.EOPNOTSUPP) { // which are whole answers
		o.close() // whatever is still on its way is nobody's any more
	}
	return answers, err
}

func (o *Open) close() {
	o.handle.Close()
	o.handle = nil
}

package tc

import (
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// requester is request.
type requester func(kind, flags int, parts ...nl.NetlinkRequestData) ([][]byte, error)

// Open lists actions over one socket: to make one for each look costs more than the look. It is of the network namespace where it is used
// first. The zero value is ready. It isn't safe for use side by side.
type Open struct {
	handle *nl.SocketHandle
}

// ListPolice reads all police actions of the network namespace.
func (o *Open) ListPolice() ([]Police, error) { return listPolice(o.request) }

func (o *Open) request(kind, flags int, parts ...nl.NetlinkRequestData) ([][]byte, error) {
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
	if err != nil {
		o.close() // whatever is still on its way is nobody's any more
	}
	return answers, err
}

func (o *Open) close() {
	o.handle.Close()
	o.handle = nil
}

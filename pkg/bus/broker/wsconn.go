package broker

import (
	"errors"
	"io"
	"net"

	"github.com/gorilla/websocket"
)

var errText = errors.New("MQTT over WebSocket comes in binary messages")

// wsConn makes a stream of a WebSocket's binary messages (MQTT 5, section 6).
type wsConn struct {
	net.Conn
	ws      *websocket.Conn
	message io.Reader // nil between two
}

func (c *wsConn) Read(b []byte) (int, error) {
	for {
		if c.message == nil {
			kind, r, err := c.ws.NextReader()
			if err != nil {
				return 0, err
			}
			if kind != websocket.BinaryMessage {
				return 0, errText
			}
			c.message = r
		}
		n, err := c.message.Read(b)
		if errors.Is(err, io.EOF) {
			c.message, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

func (c *wsConn) Write(b []byte) (int, error) {
	if err := c.ws.WriteMessage(websocket.BinaryMessage, b); err != nil {
		return 0, err
	}
	return len(b), nil
}

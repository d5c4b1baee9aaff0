package notify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/weir-sensor/weir/pkg/wire"
)

// webhook posts a notice as JSON, signed.
type webhook struct {
	poster
	key []byte
	now func() time.Time
}

func newWebhook(address *url.URL, key []byte) *webhook {
	return &webhook{poster{label: "webhook " + address.Host, url: address.String()}, key, time.Now}
}

// hook is the body.
type hook struct {
	ID       string     `json:"id"`       // of the notice: the same in each attempt
	Server   string     `json:"server"`   // the root of its topics
	Severity string     `json:"severity"` // critical or warning
	Test     bool       `json:"test,omitempty"`
	Alert    wire.Alert `json:"alert"`
}

// The headers of a webhook.
const (
	HeaderTimestamp = "X-Weir-Timestamp" // Unix seconds of the attempt
	HeaderSignature = "X-Weir-Signature" // sha256= and what Sign returns
)

func (w *webhook) send(ctx context.Context, n Notice) error {
	body, err := json.Marshal(hook{n.ID, n.Root.String(), n.Severity, n.Test, n.Alert})
	if err != nil {
		return err
	}
	timestamp := strconv.FormatInt(w.now().Unix(), 10)
	return w.post(ctx, body, http.Header{
		HeaderTimestamp: {timestamp},
		HeaderSignature: {"sha256=" + Sign(w.key, timestamp, body)},
	})
}

// Sign is the HMAC-SHA256 (RFC 2104) of timestamp, a full stop and body, in hexadecimal.
func Sign(key []byte, timestamp string, body []byte) string {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(timestamp + "."))
	h.Write(body)
	return hex.EncodeToString(h.Sum(nil))
}

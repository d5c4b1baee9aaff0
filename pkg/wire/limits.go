package wire

// MaxPayload is the most bytes a payload may have, on any topic.
const MaxPayload = 64 << 10

package broker

// Stats are what the broker has done since its start, and who is there.
type Stats struct {
	Clients       int64
	Subscriptions int64
	Retained      int64
	Received      int64 // messages
	Sent          int64
	Dropped       int64  // since their reader was too slow
	Refused       uint64 // connections, messages and subscriptions, by the guard
}

// Stats may be called from any goroutine.
func (b *Broker) Stats() Stats {
	i := b.server.Info.Clone()
	return Stats{
		Clients: i.ClientsConnected, Subscriptions: i.Subscriptions, Retained: i.Retained,
		Received: i.MessagesReceived, Sent: i.MessagesSent, Dropped: i.MessagesDropped, Refused: b.guard.refused.Load(),
	}
}

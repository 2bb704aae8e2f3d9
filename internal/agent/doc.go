// Package agent runs at a data holder. It checks the holder's files, splits every record into identity and
// payload under a random ticket, sends the identities to trust and the payload to engine, and waits until engine
// has published the data. "mitral agent deliver" calls it.
//
// Nothing is sent before every file was read and found right. The number by which the holder knows a
// person goes to trust only, as the weakest of its linkage rules; the map from that number to the ticket
// lives in memory for the time of one split and is never written.
package agent

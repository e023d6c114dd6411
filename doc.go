// Package hotsync is the module's root. It promises to hold nothing: the
// program starts in cmd/hotsync, ARCHITECTURE.md says what the folders are for,
// and the tests beside this file check that what those two say stays true.
package hotsync

//go:build !((linux || darwin) && (amd64 || arm64))

package embedded

// queryCmdline refuses: there is no engine library for this platform.
func queryCmdline(string, []string) error { return ErrUnsupported }

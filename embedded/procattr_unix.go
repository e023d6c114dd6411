//go:build unix && !linux

package embedded

import "syscall"

// ownGroup keeps a Ctrl-C on the terminal from reaching the engine before the
// parent has finished with it.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// dieWithParent has no counterpart here; only a kill of the supervisor itself
// leaves a server behind.
func dieWithParent() *syscall.SysProcAttr { return nil }

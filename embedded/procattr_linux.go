package embedded

import "syscall"

// ownGroup keeps a Ctrl-C on the terminal from reaching the engine before the
// parent has finished with it.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// dieWithParent has the kernel kill the child when its parent is killed.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

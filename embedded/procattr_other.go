//go:build !unix

package embedded

import "syscall"

func ownGroup() *syscall.SysProcAttr { return nil }

func dieWithParent() *syscall.SysProcAttr { return nil }

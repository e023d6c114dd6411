//go:build (linux || darwin) && (amd64 || arm64)

package embedded

import (
	"fmt"
	"runtime"
	"unsafe"

	"github.com/ebitengine/purego"
)

// queryCmdline runs the library's command-line mode: args are what clickhouse
// local takes, program name first. It returns when the last query has ended.
func queryCmdline(library string, args []string) error {
	handle, err := purego.Dlopen(library, purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return fmt.Errorf("load engine library %s: %w", library, err)
	}
	for _, name := range []string{"chdb_query_cmdline", "chdb_result_error"} {
		if _, err := purego.Dlsym(handle, name); err != nil {
			return fmt.Errorf("engine library %s: %w", library, err)
		}
	}
	var query func(argc int32, argv unsafe.Pointer) unsafe.Pointer
	purego.RegisterLibFunc(&query, handle, "chdb_query_cmdline")
	var failure func(result unsafe.Pointer) string
	purego.RegisterLibFunc(&failure, handle, "chdb_result_error")

	// C wants an array of strings that ends with a null pointer.
	argv := make([]*byte, len(args)+1)
	var pin runtime.Pinner
	defer pin.Unpin()
	for i, arg := range args {
		c := append([]byte(arg), 0)
		pin.Pin(&c[0])
		argv[i] = &c[0]
	}
	pin.Pin(&argv[0])
	result := query(int32(len(args)), unsafe.Pointer(&argv[0]))
	if result == nil {
		return nil
	}
	if msg := failure(result); msg != "" {
		return fmt.Errorf("engine: %s", msg)
	}
	return nil
}

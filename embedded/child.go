package embedded

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// EngineVerb is the hidden first argument with which a program is started
// again as the engine.
const EngineVerb = "__clickhouse"

// IsEngine reports whether the arguments (os.Args) ask this program to be the
// engine. Then call EngineMain with the rest of them and exit.
func IsEngine(args []string) bool { return len(args) > 1 && args[1] == EngineVerb }

// EngineMain is the engine's process: args are os.Args[2:]. It returns when
// standard input ends, which it does with the parent, or when the engine fails.
func EngineMain(args []string) error {
	set := flag.NewFlagSet(EngineVerb, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	config := set.String("config", "", "ClickHouse configuration file")
	library := set.String("library", "", "engine library to serve with")
	server := set.String("server", "", "clickhouse binary to serve with")
	if err := set.Parse(args); err != nil {
		return fmt.Errorf("%s: %w", EngineVerb, err)
	}
	switch {
	case *config == "" || (*library == "") == (*server == ""):
		return fmt.Errorf("%s: wants -config and either -library or -server; it is started by hotsync itself", EngineVerb)
	case *library != "":
		return serveLibrary(*library, *config)
	default:
		return superviseServer(*server, *config)
	}
}

// libraryQuery opens the ports and then reads standard input to its end, so
// the engine lives exactly as long as its parent holds the pipe.
const libraryQuery = "SYSTEM START LISTEN TCP; SYSTEM START LISTEN HTTP; " +
	"SELECT count() FROM file('/dev/stdin', 'LineAsString') FORMAT Null"

// serveLibrary runs the engine library in this process until standard input
// ends. What goes wrong in the engine is printed by it.
func serveLibrary(library, config string) error {
	runtime.LockOSThread()
	return queryCmdline(library, []string{"clickhouse", "--config-file=" + config, "--query=" + libraryQuery})
}

// serverGrace is how long a clickhouse server may take to stop.
const serverGrace = 15 * time.Second

// superviseServer runs a clickhouse server, which unlike the library does not
// care about its standard input, and ends it when ours does.
func superviseServer(binary, config string) error {
	// A parent-death signal belongs to the thread that started the child.
	runtime.LockOSThread()
	cmd := exec.Command(binary, "server", "--config-file="+config)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = dieWithParent()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s server: %w", binary, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	orphaned := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(orphaned)
	}()
	select {
	case err := <-ended:
		if err == nil {
			err = errors.New("exit status 0")
		}
		return fmt.Errorf("%s server ended: %w", binary, err)
	case <-orphaned:
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-ended:
		return nil
	case <-time.After(serverGrace):
		_ = cmd.Process.Kill()
		<-ended
		return fmt.Errorf("%s server killed: it did not stop within %s", binary, serverGrace)
	}
}

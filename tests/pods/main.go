// Command pods is what runs in the Pods of the cluster tests: its first argument picks the role.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	role := ""
	if len(os.Args) > 1 {
		role = os.Args[1]
	}
	switch role {
	case "pause":
		pause()
	case "resolve":
		resolve(os.Args[2:])
	case "serve":
		serve()
	case "measure":
		measure()
	case "/nginx-ingress-controller":
		// The command of ingress-nginx's manifest.
		fail(os.Args[2:])
	default:
		fmt.Fprintf(os.Stderr, "pods: no role %q: wanted pause, resolve, serve, measure or /nginx-ingress-controller\n", role)
		os.Exit(2)
	}
}

// pause is the process of a Pod's sandbox: it waits for its end. As PID 1 of Pods that share their PID namespace it also has to
// collect ended processes.
func pause() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGINT, syscall.SIGTERM)
	children := make(chan os.Signal, 1)
	signal.Notify(children, syscall.SIGCHLD)
	for {
		select {
		case <-ended:
			return
		case <-children:
			for {
				if process, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); process <= 0 || err != nil {
					break
				}
			}
		}
	}
}

// Command neighbours has the programs beside which the ingress is tested. The first argument picks one:
//
//	collector ADDRESS    takes spans over OTLP and prints each as a line of JSON
//	server ADDRESS       serves the gRPC methods of echo.go
//	client TARGET NAME   calls them and prints what each call has brought; NAME is the host that the requests name
//	provider ADDRESS     is an OpenID provider at which everybody is ann
package main

import (
	"fmt"
	"os"
)

var programs = map[string]func(arguments []string) error{
	"collector": collect,
	"server":    serve,
	"client":    call,
	"provider":  provide,
}

func main() {
	if len(os.Args) < 3 || programs[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: neighbours collector|server|client|provider ADDRESS")
		os.Exit(2)
	}
	if err := programs[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

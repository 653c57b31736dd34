// Command controllers is cert-manager's controller, its solver of HTTP-01 challenges, and external-dns, in one binary: the first
// argument picks the program.
//
// The commands of both projects cannot be installed as modules: that of cert-manager is a module that depends on its own folders, and
// external-dns needs every DNS provider's library. Here their packages run without the providers.
package main

import (
	"fmt"
	"os"
)

func main() {
	programs := map[string]func() error{
		"cert-manager": certManager,
		"acmesolver":   solve,
		"external-dns": externalDNS,
	}
	if len(os.Args) < 2 || programs[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "controllers: wanted cert-manager, acmesolver or external-dns")
		os.Exit(2)
	}
	start := programs[os.Args[1]]
	os.Args = os.Args[1:]
	if err := start(); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", os.Args[0], err)
		os.Exit(1)
	}
}

package main

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// resolve prints one line per name: its IPv4 addresses in order, or what went wrong. resolve.c prints the same with the C
// library's resolver.
func resolve(names []string) {
	for _, name := range names {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		addresses, err := net.DefaultResolver.LookupIP(ctx, "ip4", name)
		cancel()
		if err != nil {
			fmt.Printf("%s = %s\n", name, problem(err))
			continue
		}
		var texts []string
		for _, address := range addresses {
			texts = append(texts, address.String())
		}
		slices.Sort(texts)
		fmt.Printf("%s = %s\n", name, strings.Join(slices.Compact(texts), " "))
	}
}

func problem(err error) string {
	if dns, is := err.(*net.DNSError); is && dns.IsNotFound {
		return "not found"
	}
	return err.Error()
}

package main

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// resolve prints one line per name: what was found in order, or what went wrong. That is IPv4 addresses, or for names that begin with
// `_` SRV records. resolve.c prints the same with the C library's resolver.
func resolve(names []string) {
	for _, name := range names {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		find := addresses
		if strings.HasPrefix(name, "_") {
			find = services
		}
		texts, err := find(ctx, name)
		cancel()
		if err != nil {
			fmt.Printf("%s = %s\n", name, problem(err))
			continue
		}
		slices.Sort(texts)
		fmt.Printf("%s = %s\n", name, strings.Join(slices.Compact(texts), " "))
	}
}

func addresses(ctx context.Context, name string) (texts []string, err error) {
	found, err := net.DefaultResolver.LookupIP(ctx, "ip4", name)
	for _, address := range found {
		texts = append(texts, address.String())
	}
	return texts, err
}

func services(ctx context.Context, name string) (texts []string, err error) {
	// Without service and protocol, the name is looked up as it is.
	_, found, err := net.DefaultResolver.LookupSRV(ctx, "", "", name)
	for _, service := range found {
		texts = append(texts, fmt.Sprintf("%d,%d,%d,%s", service.Priority, service.Weight, service.Port, service.Target))
	}
	return texts, err
}

func problem(err error) string {
	if dns, is := err.(*net.DNSError); is && dns.IsNotFound {
		return "not found"
	}
	return err.Error()
}

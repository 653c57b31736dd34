package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"sigs.k8s.io/external-dns/endpoint"
	"sigs.k8s.io/external-dns/pkg/apis/externaldns"
	"sigs.k8s.io/external-dns/plan"
	"sigs.k8s.io/external-dns/provider/inmemory"
	"sigs.k8s.io/external-dns/registry/noop"
	"sigs.k8s.io/external-dns/source"
	"sigs.k8s.io/external-dns/source/annotations"
	"sigs.k8s.io/external-dns/source/wrappers"
)

// Runs external-dns with its own flags and the provider `inmemory`, and prints each change of a record as a line.
func externalDNS() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	config := externaldns.NewConfig()
	if err := config.ParseFlags(os.Args[1:]); err != nil {
		return err
	}
	annotations.SetAnnotationPrefix(config.AnnotationPrefix)
	settings, err := source.NewSourceConfig(config)
	if err != nil {
		return err
	}
	endpoints, err := wrappers.Build(ctx, settings)
	if err != nil {
		return err
	}
	filter := endpoint.NewDomainFilter(config.DomainFilter)
	zone, err := inmemory.New(ctx, config, filter)
	if err != nil {
		return err
	}
	registry, err := noop.New(config, zone)
	if err != nil {
		return err
	}
	changed := make(chan struct{}, 1)
	changed <- struct{}{}
	endpoints.AddEventHandler(ctx, func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	})
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
		current, err := registry.Records(ctx)
		if err != nil {
			return err
		}
		desired, err := endpoints.Endpoints(ctx)
		if err != nil {
			return err
		}
		if desired, err = registry.AdjustEndpoints(desired); err != nil {
			return err
		}
		next := &plan.Plan{
			Policies:       []plan.Policy{plan.Policies[config.Policy]},
			Current:        current,
			Desired:        desired,
			DomainFilter:   endpoint.MatchAllDomainFilters{filter},
			ManagedRecords: config.ManagedDNSRecordTypes,
		}
		changes := next.Calculate().Changes
		if !changes.HasChanges() {
			continue
		}
		if err := registry.ApplyChanges(ctx, changes); err != nil {
			return err
		}
		report("delete", changes.Delete)
		report("update", changes.UpdateNew)
		report("create", changes.Create)
	}
}

func report(change string, records []*endpoint.Endpoint) {
	for _, record := range records {
		fmt.Println(change, record.RecordType, record.DNSName, record.Targets)
	}
}

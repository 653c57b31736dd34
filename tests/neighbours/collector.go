package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"net"
	"os"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	"google.golang.org/grpc"
)

// A span as a line of JSON.
type span struct {
	Service    string         `json:"service"`
	Name       string         `json:"name"`
	Kind       string         `json:"kind"`
	Trace      string         `json:"trace"`
	Span       string         `json:"span"`
	Parent     string         `json:"parent"`
	State      string         `json:"state"`
	Status     string         `json:"status"`
	Began      uint64         `json:"began"`
	Ended      uint64         `json:"ended"`
	Attributes map[string]any `json:"attributes"`
}

type service struct {
	collector.UnimplementedTraceServiceServer
	lines *json.Encoder
}

// Export prints each span.
func (s *service) Export(_ context.Context, request *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	for _, resource := range request.ResourceSpans {
		name, _ := values(resource.Resource.GetAttributes())["service.name"].(string)
		for _, scope := range resource.ScopeSpans {
			for _, one := range scope.Spans {
				line := span{
					Service:    name,
					Name:       one.Name,
					Kind:       one.Kind.String(),
					Trace:      hex.EncodeToString(one.TraceId),
					Span:       hex.EncodeToString(one.SpanId),
					Parent:     hex.EncodeToString(one.ParentSpanId),
					State:      one.TraceState,
					Status:     one.Status.GetCode().String(),
					Began:      one.StartTimeUnixNano,
					Ended:      one.EndTimeUnixNano,
					Attributes: values(one.Attributes),
				}
				if err := s.lines.Encode(line); err != nil {
					return nil, err
				}
			}
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

func values(pairs []*common.KeyValue) map[string]any {
	found := map[string]any{}
	for _, pair := range pairs {
		switch value := pair.Value.GetValue().(type) {
		case *common.AnyValue_StringValue:
			found[pair.Key] = value.StringValue
		case *common.AnyValue_IntValue:
			found[pair.Key] = value.IntValue
		}
	}
	return found
}

// collect takes spans at an address and prints them.
func collect(arguments []string) error {
	listener, err := net.Listen("tcp", arguments[0])
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	collector.RegisterTraceServiceServer(server, &service{lines: json.NewEncoder(os.Stdout)})
	return server.Serve(listener)
}

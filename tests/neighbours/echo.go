package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// Messages of all methods are texts, so that no code has to be generated.
type text = wrapperspb.StringValue

// The methods of the service `echo.Echo`.
var echo = grpc.ServiceDesc{
	ServiceName: "echo.Echo",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{
		{MethodName: "Unary", Handler: unary},
		{MethodName: "Fail", Handler: fail},
		{MethodName: "Sleep", Handler: sleep},
	},
	Streams: []grpc.StreamDesc{
		{StreamName: "Count", Handler: count, ServerStreams: true},
		{StreamName: "Collect", Handler: gather, ClientStreams: true},
		{StreamName: "Chat", Handler: chat, ServerStreams: true, ClientStreams: true},
	},
}

// unary answers a text with the metadata `x-user`, and has a header and a trailer.
func unary(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	var asked text
	if err := decode(&asked); err != nil {
		return nil, err
	}
	received, _ := metadata.FromIncomingContext(ctx)
	_ = grpc.SetHeader(ctx, metadata.Pairs("x-header", "h"))
	_ = grpc.SetTrailer(ctx, metadata.Pairs("x-trailer", "t", "x-data-bin", "\x00\xff"))
	return wrapperspb.String(asked.Value + " " + strings.Join(received["x-user"], ",")), nil
}

// fail ends with a status, a message that has to be encoded, and a trailer.
func fail(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	_ = grpc.SetTrailer(ctx, metadata.Pairs("x-trailer", "t"))
	return nil, status.Error(codes.FailedPrecondition, "100 % über")
}

// sleep waits for the client to give up, and reports to itself that it has.
func sleep(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	deadline, has := ctx.Deadline()
	fmt.Printf("deadline %t within 2 s %t\n", has, time.Until(deadline) <= 2*time.Second)
	<-ctx.Done()
	fmt.Println("cancelled")
	return nil, ctx.Err()
}

// count sends as many numbers as it is asked for.
func count(_ any, stream grpc.ServerStream) error {
	var asked text
	if err := stream.RecvMsg(&asked); err != nil {
		return err
	}
	var number int
	if _, err := fmt.Sscan(asked.Value, &number); err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	for at := range number {
		if err := stream.SendMsg(wrapperspb.String(fmt.Sprint(at))); err != nil {
			return err
		}
	}
	stream.SetTrailer(metadata.Pairs("x-trailer", "t"))
	return nil
}

// gather answers with the number and the bytes of the messages.
func gather(_ any, stream grpc.ServerStream) error {
	messages, bytes := 0, 0
	for {
		var received text
		if err := stream.RecvMsg(&received); errors.Is(err, io.EOF) {
			return stream.SendMsg(wrapperspb.String(fmt.Sprintf("%d messages, %d bytes", messages, bytes)))
		} else if err != nil {
			return err
		}
		messages++
		bytes += len(received.Value)
	}
}

// chat answers each message at once.
func chat(_ any, stream grpc.ServerStream) error {
	for {
		var received text
		if err := stream.RecvMsg(&received); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := stream.SendMsg(wrapperspb.String("<" + received.Value + ">")); err != nil {
			return err
		}
	}
}

func serve(arguments []string) error {
	listener, err := net.Listen("tcp", arguments[0])
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	server.RegisterService(&echo, nil)
	return server.Serve(listener)
}

// call makes one call of each kind over TLS. The certificate is not checked: the proxy has made it itself.
func call(arguments []string) error {
	target, name := arguments[0], arguments[1]
	connection, err := grpc.NewClient("passthrough:///"+target,
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{InsecureSkipVerify: true, ServerName: name})),
		grpc.WithAuthority(name))
	if err != nil {
		return err
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()

	var header, trailer metadata.MD
	var answer text
	asked := metadata.AppendToOutgoingContext(ctx, "x-user", "ann")
	err = connection.Invoke(asked, "/echo.Echo/Unary", wrapperspb.String("hello"), &answer, grpc.Header(&header), grpc.Trailer(&trailer))
	fmt.Printf("unary: %s %q header %v trailer %v %x\n", status.Code(err), answer.Value, header["x-header"], trailer["x-trailer"], trailer["x-data-bin"])

	err = connection.Invoke(ctx, "/echo.Echo/Fail", wrapperspb.String(""), &answer, grpc.Trailer(&trailer))
	fmt.Printf("fail: %s %q trailer %v\n", status.Code(err), status.Convert(err).Message(), trailer["x-trailer"])

	err = connection.Invoke(ctx, "/echo.Echo/None", wrapperspb.String(""), &answer)
	fmt.Printf("none: %s\n", status.Code(err))

	short, cancelShort := context.WithTimeout(ctx, time.Second)
	err = connection.Invoke(short, "/echo.Echo/Sleep", wrapperspb.String(""), &answer)
	cancelShort()
	fmt.Printf("deadline: %s\n", status.Code(err))

	fmt.Printf("count: %s\n", counted(ctx, connection, 10_000))
	fmt.Printf("collect: %s\n", collected(ctx, connection, 1_000, 5_000))
	fmt.Printf("chat: %s\n", chatted(ctx, connection, 100))
	return nil
}

func counted(ctx context.Context, connection *grpc.ClientConn, number int) string {
	stream, err := connection.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, "/echo.Echo/Count")
	if err != nil {
		return err.Error()
	}
	if err := errors.Join(stream.SendMsg(wrapperspb.String(fmt.Sprint(number))), stream.CloseSend()); err != nil {
		return err.Error()
	}
	for at := 0; ; at++ {
		var received text
		if err := stream.RecvMsg(&received); errors.Is(err, io.EOF) {
			return fmt.Sprintf("%d messages, trailer %v", at, stream.Trailer()["x-trailer"])
		} else if err != nil {
			return err.Error()
		}
		if received.Value != fmt.Sprint(at) {
			return fmt.Sprintf("%q came at %d", received.Value, at)
		}
	}
}

func collected(ctx context.Context, connection *grpc.ClientConn, number, length int) string {
	stream, err := connection.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true}, "/echo.Echo/Collect")
	if err != nil {
		return err.Error()
	}
	for range number {
		if err := stream.SendMsg(wrapperspb.String(strings.Repeat("x", length))); err != nil {
			return err.Error()
		}
	}
	var received text
	if err := errors.Join(stream.CloseSend(), stream.RecvMsg(&received)); err != nil {
		return err.Error()
	}
	return received.Value
}

func chatted(ctx context.Context, connection *grpc.ClientConn, number int) string {
	stream, err := connection.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/echo.Echo/Chat")
	if err != nil {
		return err.Error()
	}
	for at := range number {
		var received text
		if err := errors.Join(stream.SendMsg(wrapperspb.String(fmt.Sprint(at))), stream.RecvMsg(&received)); err != nil {
			return err.Error()
		}
		if received.Value != fmt.Sprintf("<%d>", at) {
			return fmt.Sprintf("%q came at %d", received.Value, at)
		}
	}
	if err := stream.CloseSend(); err != nil {
		return err.Error()
	}
	var more text
	if err := stream.RecvMsg(&more); !errors.Is(err, io.EOF) {
		return fmt.Sprintf("expected the end, got %v", err)
	}
	return fmt.Sprintf("%d turns", number)
}

// grpcgo is a gRPC-Go service and its client for the wire tests: bytes instead of protobuf, so that
// nothing is generated.
//
//	grpcgo server                          prints its port, serves until standard input ends
//	grpcgo client ADDRESS KIND COUNT       makes COUNT calls of a kind and prints how many ended how, as JSON
//
// Kinds: unary, server (a stream of COUNT messages from the server), both (a stream of COUNT messages
// each way), cancel (streams cancelled after their first answer), deadline (calls that never answer,
// 20 ms), early (uploads that the server refuses before it has read them), fail (an error with details).
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/status"
)

// raw passes bytes through.
type raw struct{}

func (raw) Marshal(v interface{}) ([]byte, error) { return *v.(*[]byte), nil }
func (raw) Unmarshal(data []byte, v interface{}) error {
	*v.(*[]byte) = append([]byte(nil), data...)
	return nil
}
func (raw) Name() string { return "proto" }

func unary(_ interface{}, ctx context.Context, decode func(interface{}) error, _ grpc.UnaryServerInterceptor) (interface{}, error) {
	var in []byte
	if err := decode(&in); err != nil {
		return nil, err
	}
	return &in, nil
}

func fail(_ interface{}, ctx context.Context, decode func(interface{}) error, _ grpc.UnaryServerInterceptor) (interface{}, error) {
	return nil, status.Error(codes.FailedPrecondition, "not now")
}

func wait(_ interface{}, ctx context.Context, decode func(interface{}) error, _ grpc.UnaryServerInterceptor) (interface{}, error) {
	<-ctx.Done()
	return nil, status.FromContextError(ctx.Err()).Err()
}

func server(_ interface{}, stream grpc.ServerStream) error {
	var in []byte
	if err := stream.RecvMsg(&in); err != nil {
		return err
	}
	count, _ := strconv.Atoi(string(in))
	for i := 0; i < count; i++ {
		out := []byte(strconv.Itoa(i))
		if err := stream.SendMsg(&out); err != nil {
			return err
		}
	}
	return nil
}

func both(_ interface{}, stream grpc.ServerStream) error {
	for {
		var in []byte
		if err := stream.RecvMsg(&in); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if err := stream.SendMsg(&in); err != nil {
			return err
		}
	}
}

// early refuses an upload of which it has read nothing.
func early(_ interface{}, stream grpc.ServerStream) error {
	return status.Error(codes.ResourceExhausted, "too large")
}

var service = grpc.ServiceDesc{
	ServiceName: "demo.Echo", HandlerType: (*interface{})(nil),
	Methods: []grpc.MethodDesc{
		{MethodName: "Unary", Handler: unary}, {MethodName: "Fail", Handler: fail}, {MethodName: "Wait", Handler: wait}},
	Streams: []grpc.StreamDesc{
		{StreamName: "Server", Handler: server, ServerStreams: true},
		{StreamName: "Both", Handler: both, ServerStreams: true, ClientStreams: true},
		{StreamName: "Early", Handler: early, ClientStreams: true}},
}

func serve() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	s := grpc.NewServer()
	s.RegisterService(&service, struct{}{})
	go s.Serve(listener)
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	io.Copy(io.Discard, os.Stdin)
	s.Stop()
}

type client struct {
	connection *grpc.ClientConn
	lock       sync.Mutex
	outcomes   map[string]int
}

func (c *client) count(err error) {
	name := status.Code(err).String()
	if name != "OK" && name != "DeadlineExceeded" && name != "Canceled" {
		name += ": " + status.Convert(err).Message()
	}
	c.lock.Lock()
	c.outcomes[name]++
	c.lock.Unlock()
}

func (c *client) invoke(method string, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	in, out := []byte("hello"), []byte(nil)
	if err := c.connection.Invoke(ctx, "/demo.Echo/"+method, &in, &out); err != nil {
		return err
	}
	if string(out) != "hello" {
		return status.Error(codes.DataLoss, "another answer came back: "+string(out))
	}
	return nil
}

// stream opens a call that streams. Its context ends with `cancel`.
func (c *client) stream(name string) (grpc.ClientStream, context.CancelFunc, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	desc := &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}
	stream, err := c.connection.NewStream(ctx, desc, "/demo.Echo/"+name)
	return stream, cancel, err
}

// messages sends one request and reads until the end; it checks that nothing is lost or moved.
func (c *client) messages(count int) error {
	stream, cancel, err := c.stream("Server")
	if err != nil {
		return err
	}
	defer cancel()
	in := []byte(strconv.Itoa(count))
	if err := stream.SendMsg(&in); err != nil {
		return err
	}
	stream.CloseSend()
	return expect(stream, count)
}

func expect(stream grpc.ClientStream, count int) error {
	for i := 0; ; i++ {
		var out []byte
		if err := stream.RecvMsg(&out); err == io.EOF {
			if i != count {
				return status.Errorf(codes.DataLoss, "%d messages of %d", i, count)
			}
			return nil
		} else if err != nil {
			return err
		}
		if string(out) != strconv.Itoa(i) {
			return status.Errorf(codes.DataLoss, "message %d is %s", i, out)
		}
	}
}

func (c *client) both(count int) error {
	stream, cancel, err := c.stream("Both")
	if err != nil {
		return err
	}
	defer cancel()
	go func() {
		for i := 0; i < count; i++ {
			in := []byte(strconv.Itoa(i))
			if stream.SendMsg(&in) != nil {
				return
			}
		}
		stream.CloseSend()
	}()
	return expect(stream, count)
}

func (c *client) cancel() error {
	stream, cancel, err := c.stream("Both")
	if err != nil {
		cancel()
		return err
	}
	in, out := []byte("0"), []byte(nil)
	if err := stream.SendMsg(&in); err != nil {
		cancel()
		return err
	}
	if err := stream.RecvMsg(&out); err != nil {
		cancel()
		return err
	}
	cancel()
	return stream.RecvMsg(&out)
}

// early sends 64 KiB in pieces to a server that refuses at once.
func (c *client) early() error {
	stream, cancel, err := c.stream("Early")
	if err != nil {
		return err
	}
	defer cancel()
	in, out := make([]byte, 8192), []byte(nil)
	for i := 0; i < 8; i++ {
		if stream.SendMsg(&in) != nil {
			break
		}
	}
	stream.CloseSend()
	return stream.RecvMsg(&out)
}

func call(address, kind string, count int) {
	connection, err := grpc.Dial(address, grpc.WithInsecure(), grpc.WithBlock(), grpc.WithTimeout(20*time.Second))
	if err != nil {
		panic(err)
	}
	c := &client{connection: connection, outcomes: map[string]int{}}
	each := map[string]func() error{
		"unary":    func() error { return c.invoke("Unary", time.Minute) },
		"fail":     func() error { return c.invoke("Fail", time.Minute) },
		"deadline": func() error { return c.invoke("Wait", 20*time.Millisecond) },
		"cancel":   c.cancel,
		"early":    c.early,
	}[kind]
	switch kind {
	case "server":
		c.count(c.messages(count))
	case "both":
		c.count(c.both(count))
	default:
		var workers sync.WaitGroup
		for w := 0; w < 32; w++ {
			workers.Add(1)
			go func(w int) {
				defer workers.Done()
				for i := w; i < count; i += 32 {
					c.count(each())
				}
			}(w)
		}
		workers.Wait()
	}
	connection.Close()
	json.NewEncoder(os.Stdout).Encode(c.outcomes)
}

func main() {
	encoding.RegisterCodec(raw{})
	if len(os.Args) == 2 && os.Args[1] == "server" {
		serve()
	} else if len(os.Args) == 5 && os.Args[1] == "client" {
		count, err := strconv.Atoi(os.Args[4])
		if err != nil {
			panic(err)
		}
		call(os.Args[2], os.Args[3], count)
	} else {
		fmt.Fprintln(os.Stderr, "usage: grpcgo server | grpcgo client ADDRESS KIND COUNT")
		os.Exit(64)
	}
}

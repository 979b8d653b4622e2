"""A gRPC service and its client for the wire tests: bytes instead of protobuf, so that nothing is generated."""
import concurrent.futures, threading
import grpc

UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


class Echo(grpc.GenericRpcHandler):
    """Four kinds of calls, one that fails, one that waits."""

    def __init__(self, name):
        self.name = name
        self.metadata = []
        self.health = b"\x08\x01"  # HealthCheckResponse: SERVING; None: the service is unknown
        self.checked = []
        self.cancelled = threading.Event()

    def service(self, details):
        self.metadata.append(dict(details.invocation_metadata))
        kinds = {
            "/demo.Echo/Unary": grpc.unary_unary_rpc_method_handler(self.unary),
            "/demo.Echo/Server": grpc.unary_stream_rpc_method_handler(self.server),
            "/demo.Echo/Client": grpc.stream_unary_rpc_method_handler(self.client),
            "/demo.Echo/Both": grpc.stream_stream_rpc_method_handler(self.both),
            "/demo.Echo/Fail": grpc.unary_unary_rpc_method_handler(self.fail),
            "/demo.Echo/Wait": grpc.unary_unary_rpc_method_handler(self.wait),
            "/demo.Echo/Pause": grpc.unary_stream_rpc_method_handler(self.pause),
            "/demo.Echo/Late": grpc.unary_unary_rpc_method_handler(self.late),
            "/demo.Echo/Endless": grpc.unary_stream_rpc_method_handler(self.endless),
            "/grpc.health.v1.Health/Check": grpc.unary_unary_rpc_method_handler(self.check),
        }
        return kinds.get(details.method)

    def unary(self, request, context):
        context.set_trailing_metadata((("served-by", self.name),))
        return request

    def server(self, request, context):
        for i in range(int(request)):
            yield b"%d" % i

    def check(self, request, context):
        self.checked.append(request)
        if self.health is None:
            context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return self.health

    def client(self, requests, context):
        return b"%d" % sum(len(r) for r in requests)

    def both(self, requests, context):
        for request in requests:
            yield request

    def fail(self, request, context):
        context.set_trailing_metadata((("detail", "why"),))
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not now")

    def wait(self, request, context):
        ended = threading.Event()
        context.add_callback(ended.set)
        ended.wait(30)
        self.cancelled.set()
        return b""

    def pause(self, request, context):
        yield b"first"
        self.wait(request, context)

    def late(self, request, context):
        context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "too late")

    def endless(self, request, context):
        ended = threading.Event()
        context.add_callback(lambda: (ended.set(), self.cancelled.set()))
        while not ended.is_set():
            yield b"x" * 1024


class Server:
    def __init__(self, name, credentials=None):
        self.echo = Echo(name)
        self.server = grpc.server(
            concurrent.futures.ThreadPoolExecutor(16), handlers=(self.echo,), options=UNLIMITED)
        if credentials:
            self.port = self.server.add_secure_port("127.0.0.1:0", credentials)
        else:
            self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()

    def stop(self, grace=None):
        self.server.stop(grace).wait()


def channel(port, credentials=None, **options):
    # A pool of its own for each channel, so that tests do not share connections.
    settings = UNLIMITED + [("grpc.use_local_subchannel_pool", 1)] + list(options.items())
    if credentials:
        return grpc.secure_channel(f"localhost:{port}", credentials, settings)
    return grpc.insecure_channel(f"127.0.0.1:{port}", settings)

"""The proxies under comparison, each given the same work: 90/10 over two origins, x-forwarded-for, a request id, one worker."""
import os, resource, shutil, signal, socket, subprocess, time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# HAProxy wants two descriptors for each connection it may be given, and some more.
CONNECTIONS_MAX = min(30_000, resource.getrlimit(resource.RLIMIT_NOFILE)[1] // 2 - 100)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def certificate(folder):
    path = os.path.join(folder, "cert.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
         "/CN=bench.test", "-keyout", path + ".key", "-out", path + ".crt"], capture_output=True, check=True)
    with open(path, "w") as file:
        for part in (".crt", ".key"):
            with open(path + part) as source:
                file.write(source.read())


def origins(folder):
    """An origin of each version and their ports: ours for HTTP/1.1, nghttpd for HTTP/2, with a trailer as gRPC has."""
    os.makedirs(os.path.join(folder, "bytes"), exist_ok=True)
    for name, content in (("bytes/12", b"x" * 12), ("message", b"\0\0\0\0\7message")):
        with open(os.path.join(folder, name), "wb") as file:
            file.write(content)
    ports = {"h1": free_port(), "h2": free_port()}
    commands = [
        [os.path.join(ROOT, ".build", "bench", "origin"), str(ports["h1"])],
        ["nghttpd", "--no-tls", "--address=127.0.0.1", "--htdocs=" + folder, "--trailer=grpc-status: 0", str(ports["h2"])],
    ]
    return ports, [subprocess.Popen(c, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for c in commands]


def wait_port(port, process, name, log):
    for _ in range(500):
        if process.poll() is not None:
            with open(log, errors="replace") as file:
                raise SystemExit(f"bench: {name} ended at once: {file.read()[-1500:]}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.02)
    process.kill()
    process.wait()
    raise SystemExit(f"bench: {name} does not listen")


class Peer:
    name = ""
    program = ""
    # What it can be asked for besides HTTP/1.1 in clear.
    speaks = ()

    def __init__(self, folder, origins, workers=1, routes=1, upstream="h1"):
        self.folder, self.origins, self.workers, self.routes = folder, origins, workers, routes
        self.upstream = upstream
        self.h1, self.h2, self.tls = free_port(), free_port(), free_port()
        self.cert = os.path.join(folder, "cert.pem")
        path = os.path.join(folder, self.name.replace(" ", "-") + ".log")
        with open(path, "ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        wait_port(self.h1, self.process, self.name, path)

    @classmethod
    def found(cls):
        return shutil.which(cls.program)

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w") as file:
            file.write(text)
        return path

    def pids(self):
        """The process and its children."""
        all_of = [self.process.pid]
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/stat") as file:
                    if int(file.read().rsplit(")", 1)[1].split()[1]) == self.process.pid:
                        all_of.append(int(pid))
            except OSError:
                pass
        return all_of

    def cpu(self):
        """CPU seconds so far, from the scheduler's own accounting, of every thread that lives."""
        total = 0
        for pid in self.pids():
            for task in os.listdir(f"/proc/{pid}/task"):
                try:
                    with open(f"/proc/{pid}/task/{task}/schedstat") as file:
                        total += int(file.read().split()[0])
                except OSError:
                    pass
        return total / 1e9

    def rss(self):
        """Proportional resident memory in MB: pages that several processes share count once."""
        total = 0
        for pid in self.pids():
            with open(f"/proc/{pid}/smaps_rollup") as file:
                total += next(int(l.split()[1]) for l in file if l.startswith("Pss:"))
        return total / 1024

    def stop(self):
        self.process.send_signal(signal.SIGKILL if self.name == "relay" else signal.SIGTERM)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Sluice(Peer):
    name, log = "sluice", False
    # Everything that keeps trouble small is configured, and has no trouble to keep small.
    guarded = False
    # The guard looks at the split.
    evidence = False
    speaks = ("h2", "h2 upstream", "tls", "grpc")

    @classmethod
    def found(cls):
        return os.path.join(ROOT, ".build", "release", "sluice")

    def command(self):
        a, b = self.origins
        # One route is the usual list of two: by header, and the rest.
        routes = "".join(
            f"  - {{ name: r{i}, match: {{ path: {{ prefix: /r{i} }} }}, to: s }}\n" for i in range(self.routes))
        if self.routes == 1:
            routes = "  - { name: beta, match: { headers: { x-user-group: beta } }, to: s/v2 }\n  - { name: rest, to: s }\n"
        service = route = times = ""
        if self.guarded:
            service = """    healthCheck: { path: /bytes/12, interval: 1s }
    outlierDetection: { consecutiveGatewayErrors: 5, successRate: {}, maxEjectionPercent: 50, minHealthPercent: 20 }
    warmup: 10s
    whenUnavailable: fallback"""
            route = """, retries: { attempts: 3, on: [5xx, reset, retriable-4xx, 429] }, timeouts: { perTry: 5s, request: 20s },
      fault: { delay: { time: 1s, share: 0% }, abort: { status: 503, share: 0% }, byHeader: allow },
      mirror: { to: s/v2, share: 0% }, rateLimit: { requests: 100000000, per: 1s, by: { cookie: session } }"""
            routes = routes.replace("to: s }", f"to: s{route} }}")
            times = ", limits: { acceptRate: 1000000, bufferBytes: 1GiB }, timeouts: { maxConnectionDuration: 1h }"
        if self.evidence:
            service += "\n    guard: on"
        path = self.write(f"{self.name.replace(' ', '-')}-{self.routes}.yaml", f"""
listeners:
  - {{ name: h1, address: "127.0.0.1:{self.h1}" }}
  - {{ name: h2, address: "127.0.0.1:{self.h2}" }}
  - {{ name: tls, address: "127.0.0.1:{self.tls}", tls: {{ certificate: {self.cert}, key: {self.cert} }} }}
admin: "127.0.0.1:0"
metrics: "127.0.0.1:0"
services:
  s:
    stable: v1
    protocol: {"http2" if self.upstream == "h2" else "http1"}
    versions:
      v1: {{ weight: 90%, endpoints: ["127.0.0.1:{a}"] }}
      v2: {{ weight: 10%, endpoints: ["127.0.0.1:{b}"] }}
    sticky: {{ cookie: session }}
    connectionPool: {{ maxConnections: 20000, maxRequests: 20000, maxPendingRequests: 20000 }}
{service}
routes:
{routes}
defaults: {{ forwarding: {{ version: x-served-by }}{times} }}
drain: {{ delay: 0s, grace: 1s }}
{f"accessLog: {{ path: {self.folder}/access.log, format: json }}" if self.log else ""}
""")
        return [self.found(), "run", "-c", path, "--workers", str(self.workers)]


class SluiceLogging(Sluice):
    """The same with every request in a JSON access log."""
    name, log = "sluice logging", True


class Relay(Peer):
    name = "relay"

    @classmethod
    def found(cls):
        return os.path.join(ROOT, ".build", "bench", "relay")

    def command(self):
        return [self.found(), str(self.h1), str(self.origins[0])]


class HAProxy(Peer):
    name, program, speaks = "haproxy", "haproxy", ("h2", "h2 upstream", "tls", "grpc")

    def command(self):
        a, b = self.origins
        rules = "".join(f"  use_backend s if {{ path_beg /r{i}/ }}\n" for i in range(self.routes)) if self.routes > 1 else ""
        h2 = " proto h2" if self.upstream == "h2" else ""
        path = self.write(f"haproxy-{self.routes}.cfg", f"""
global
  nbthread {self.workers}
  maxconn {CONNECTIONS_MAX}
defaults
  mode http
  timeout client 60s
  timeout server 60s
  timeout connect 5s
  option forwardfor
  http-reuse always
  unique-id-format %{{+X}}o\\ %ci:%cp_%fi:%fp_%Ts_%rt:%pid
  unique-id-header x-request-id
frontend f
  bind 127.0.0.1:{self.h1}
  bind 127.0.0.1:{self.h2} proto h2
  bind 127.0.0.1:{self.tls} ssl crt {self.cert} alpn h2,http/1.1
{rules}  default_backend s
backend s
  balance roundrobin
  server a 127.0.0.1:{a} weight 90{h2}
  server b 127.0.0.1:{b} weight 10{h2}
""")
        return ["haproxy", "-f", path, "-db"]


class HAProxyTCP(Peer):
    name, program = "haproxy tcp", "haproxy"

    def command(self):
        path = self.write("haproxy-tcp.cfg", f"""
global
  nbthread {self.workers}
  maxconn {CONNECTIONS_MAX}
listen f
  mode tcp
  timeout client 60s
  timeout server 60s
  timeout connect 5s
  bind 127.0.0.1:{self.h1}
  server a 127.0.0.1:{self.origins[0]} weight 90
  server b 127.0.0.1:{self.origins[1]} weight 10
""")
        return ["haproxy", "-f", path, "-db"]


class Nginx(Peer):
    name, program, speaks = "nginx", "nginx", ("h2", "tls", "grpc")

    def command(self):
        a, b = self.origins
        proxy = ("proxy_pass http://s; proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $host; "
                 "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Request-ID $request_id;")
        if self.upstream == "h2":
            proxy = "grpc_pass grpc://s; grpc_set_header X-Forwarded-For $proxy_add_x_forwarded_for; grpc_set_header X-Request-ID $request_id;"
        places = "".join(f"location /r{i}/ {{ {proxy} }}\n" for i in range(self.routes)) if self.routes > 1 else ""
        path = self.write(f"nginx-{self.routes}.conf", f"""
daemon off; worker_processes {self.workers}; pid {self.folder}/nginx.pid; error_log {self.folder}/nginx-error.log;
worker_rlimit_nofile {CONNECTIONS_MAX * 2};
events {{ worker_connections {CONNECTIONS_MAX * 2}; }}
http {{
  access_log off; keepalive_requests 1000000000; client_max_body_size 0;
  client_body_temp_path {self.folder}/b; proxy_temp_path {self.folder}/p; fastcgi_temp_path {self.folder}/f;
  uwsgi_temp_path {self.folder}/u; scgi_temp_path {self.folder}/s;
  proxy_request_buffering off;
  upstream s {{ server 127.0.0.1:{a} weight=90; server 127.0.0.1:{b} weight=10; keepalive 1024; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{self.h1}; listen 127.0.0.1:{self.h2} http2; listen 127.0.0.1:{self.tls} ssl http2;
    ssl_certificate {self.cert}; ssl_certificate_key {self.cert};
    {places}
    location / {{ {proxy} }}
  }}
}}
""")
        return ["nginx", "-c", path, "-p", self.folder]


class Nghttpx(Peer):
    name, program, speaks = "nghttpx", "nghttpx", ("h2", "h2 upstream", "tls", "grpc")

    def command(self):
        a, b = self.origins
        path = self.write("nghttpx.conf", "")
        h2 = ";proto=h2" if self.upstream == "h2" else ""
        return ["nghttpx", f"--conf={path}", f"--workers={self.workers}", "--add-x-forwarded-for", "--accesslog-file=/dev/null",
                f"--errorlog-file={self.folder}/nghttpx-error.log", "--frontend-keep-alive-timeout=600s",
                f"--frontend=127.0.0.1,{self.h1};no-tls", f"--frontend=127.0.0.1,{self.h2};no-tls",
                f"--frontend=127.0.0.1,{self.tls}", f"--backend=127.0.0.1,{a};;group=a;group-weight=90{h2}",
                f"--backend=127.0.0.1,{b};;group=b;group-weight=10{h2}", "--no-ocsp", self.cert, self.cert]


class Envoy(Peer):
    name, speaks = "envoy", ("h2", "h2 upstream", "tls", "grpc")

    @classmethod
    def found(cls):
        path = os.path.join(ROOT, ".build", "bench-venv", "bin", "envoy")
        return path if os.path.exists(path) else None

    def command(self):
        a, b = self.origins
        match = lambda i: f'{{ match: {{ prefix: "/r{i}/" }}, route: {{ weighted_clusters: *w }} }}'
        routes = "".join(f"                  - {match(i)}\n" for i in range(self.routes)) if self.routes > 1 else ""
        def listener(name, port, tls=""):
            return f"""
    - name: {name}
      address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
      filter_chains:
        - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: {name}
                use_remote_address: true
                generate_request_id: true
                route_config:
                  virtual_hosts:
                    - name: all
                      domains: ["*"]
                      routes:
                      - {{ match: {{ prefix: "/never" }}, route: {{ weighted_clusters: &w {{ clusters: [{{ name: a, weight: 90 }}, {{ name: b, weight: 10 }}] }} }} }}
{routes.replace('                  -', '                      -')}                      - {{ match: {{ prefix: "/" }}, route: {{ weighted_clusters: *w }} }}
                http_filters:
                  - name: envoy.filters.http.router
                    typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
{tls}"""
        secure = f"""          transport_socket:
            name: envoy.transport_sockets.tls
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
              common_tls_context:
                alpn_protocols: [h2, http/1.1]
                tls_certificates: [{{ certificate_chain: {{ filename: {self.cert} }}, private_key: {{ filename: {self.cert} }} }}]
"""
        h2 = """      typed_extension_protocol_options:
        envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
          "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
          explicit_http_config: { http2_protocol_options: {} }
""" if self.upstream == "h2" else ""
        cluster = lambda name, port: f"""
    - name: {name}
      connect_timeout: 5s
{h2}      circuit_breakers: {{ thresholds: [{{ max_connections: 20000, max_pending_requests: 20000, max_requests: 20000 }}] }}
      load_assignment:
        cluster_name: {name}
        endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }} }} }}] }}]"""
        path = self.write(f"envoy-{self.routes}.yaml", "static_resources:\n  listeners:" + listener("h1", self.h1)
                          + listener("h2", self.h2).replace("&w ", "&x ").replace("*w", "*x")
                          + listener("tls", self.tls, secure).replace("&w ", "&y ").replace("*w", "*y")
                          + "\n  clusters:" + cluster("a", a) + cluster("b", b) + "\n")
        return [self.found(), "-c", path, "--concurrency", str(self.workers), "-l", "error", "--disable-hot-restart"]


ALL = [Sluice, SluiceLogging, Relay, HAProxy, HAProxyTCP, Nginx, Nghttpx, Envoy]

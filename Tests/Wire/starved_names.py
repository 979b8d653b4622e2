"""Names that time out beside one that answers. For a network and mount namespace of its own (test_names.py starts it
there), because the C library asks port 53 of the servers in /etc/resolv.conf and no other. Prints `ok`."""
import socket, subprocess, tempfile, threading
from harness import OK, Backend, Proxy, until


def serve(server):
    """Answers every name with 127.0.0.1, and those that begin with `dead` never."""
    while True:
        query, client = server.recvfrom(2048)
        name, at = [], 12
        while query[at]:
            name.append(query[at + 1:at + 1 + query[at]].decode())
            at += 1 + query[at]
        if name[0].startswith("dead"):
            continue
        is_v4 = query[at + 1:at + 3] == b"\x00\x01"
        answer = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x01\x00\x04\x7f\x00\x00\x01" if is_v4 else b""
        head = query[:2] + b"\x81\x80\x00\x01" + (b"\x00\x01" if is_v4 else b"\x00\x00") + b"\x00\x00\x00\x00"
        server.sendto(head + query[12:at + 5] + answer, client)


subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
resolv = tempfile.NamedTemporaryFile("w")
resolv.write("nameserver 127.0.0.1\noptions timeout:5 attempts:2\n")
resolv.flush()
subprocess.run(["mount", "--bind", resolv.name, "/etc/resolv.conf"], check=True)
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))
threading.Thread(target=serve, args=(server,), daemon=True).start()
origin = Backend(OK)
# Six that time out: more than there are threads. Their names come first in every order but fairness.
dead = "".join(f'      d{n}: {{ weight: 0, dns: "dead-{n}.test:80" }}\n' for n in range(6))
proxy = Proxy(f"""
listeners: [{{ name: http, address: "127.0.0.1:0" }}]
services:
  s:
    dnsRefresh: 200ms
    versions:
{dead}      v1: {{ weight: 1, dns: "live.test:{origin.port}" }}
routes: [{{ name: rest, to: s }}]
drain: {{ delay: 0s, grace: 5s }}
""")
try:
    looked_up = 'sluice_dns_lookups_total{name="live.test:%d"}' % origin.port
    until(lambda: proxy.metric(looked_up.replace("{", r"\{").replace("}", r"\}")) >= 10, limit=60)
    assert proxy.get().status == 200
    # What times out is tried too, and each failure is said once.
    until(lambda: proxy.metric(r'sluice_dns_failures_total\{name="dead-') >= 2, limit=60)
    assert proxy.get().status == 200
finally:
    proxy.process.kill()
    proxy.process.wait()
print("ok")

"""1,000 acknowledged reloads, one in ten bad, under wrk, an open tunnel and a slow download."""
import re, shutil, socket, subprocess, threading, unittest
from harness import Demo, Origin, Proxy, config, until

RELOADS = 1000


@unittest.skipUnless(shutil.which("wrk"), "wrk is not installed")
class Reloads(unittest.TestCase):
    def test_nothing_is_lost(self):
        def serve(origin, connection):
            head, _ = origin.head(connection)
            if "/slow" in head:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n")
                connection.sendall(b"s" * 10_000_000)
                return
            connection.sendall(b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
            while piece := connection.recv(1000):
                connection.sendall(piece)
        special = Origin(serve)
        v1, v2 = Demo("v1"), Demo("v2")
        self.addCleanup(v1.stop)
        self.addCleanup(v2.stop)
        text = config(v1.port, v2.port, weights=("99%", "1%"), routes=f"""
  other: {{ versions: {{ v1: {{ endpoints: ["127.0.0.1:{special.port}"] }} }} }}
routes:
  - {{ name: special, match: [{{ path: {{ prefix: /slow }} }}, {{ path: {{ prefix: /ws }} }}], to: other }}
  - {{ name: rest, to: s }}""")
        proxy = Proxy(text)
        tunnel = proxy.connect()
        tunnel.sendall(b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        self.assertTrue(tunnel.recv(1000).startswith(b"HTTP/1.1 101"))
        download = proxy.connect()
        download.sendall(b"GET /slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        wrk = subprocess.Popen(
            ["wrk", "-t1", "-c16", "-d600s", f"http://127.0.0.1:{proxy.port}/"], stdout=subprocess.PIPE, text=True)
        until(lambda: proxy.metric("sluice_requests_total") > 1000)
        for _ in range(50):
            proxy.reload()
        before = [proxy.metric("process_open_fds"), proxy.metric("process_resident_memory_bytes")]
        got = 0
        for n in range(RELOADS):
            if n % 10 == 9:
                proxy.write("listeners: [\n")
            elif n % 10 == 0:
                proxy.write(text)
            proxy.reload()
            if n % 10 == 0:
                tunnel.sendall(b"ping")
                self.assertEqual(tunnel.recv(100), b"ping")
                got += len(download.recv(40_000))
        after = [proxy.metric("process_open_fds"), proxy.metric("process_resident_memory_bytes")]
        wrk.send_signal(2)
        out = wrk.communicate()[0]
        while piece := download.recv(1 << 20):
            got += len(piece)
        print("\n" + out, f"\nfds and RSS before {before}, after {after}", sep="")
        self.assertNotIn("Socket errors", out)
        self.assertNotIn("Non-2xx", out)
        self.assertGreaterEqual(got, 10_000_000)
        self.assertEqual(proxy.metric('sluice_config_reloads_total{result="rejected"}'), RELOADS // 10)
        self.assertEqual(proxy.metric('sluice_config_reloads_total{result="accepted"}'), RELOADS * 9 // 10 + 50)
        self.assertLessEqual(abs(after[0] - before[0]), 4)
        self.assertLess(after[1], before[1] * 1.1)
        canary = proxy.metric('sluice_requests_total.*route="rest".*version="v2"')
        total = proxy.metric('sluice_requests_total.*route="rest"')
        self.assertLess(abs(canary - total / 100), 1 + 16)
        tunnel.close()
        download.close()
        self.assertEqual(proxy.stop(), 0)


if __name__ == "__main__":
    unittest.main()

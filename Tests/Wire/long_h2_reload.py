"""A thousand acknowledged reloads under h2load and a call that streams both ways. Minutes; part of scripts/test --all."""
import os, subprocess, threading, unittest
import calls
from harness import Demo, Proxy, config


@unittest.skipUnless(os.environ.get("SLUICE_LONG"), "long")
class LongReload(unittest.TestCase):
    def test_a_thousand_reloads(self):
        server, one, two = calls.Server("v1"), Demo("v1"), Demo("v2")
        text = config(one.port, two.port, extra="")
        text = text.replace("services:\n", f'services:\n  calls: {{ protocol: http2, versions: {{ v1: {{ endpoints: ["127.0.0.1:{server.port}"] }} }} }}\n')
        text = text.replace("routes: [", "routes: [{ name: calls, match: { path: { prefix: /demo.Echo } }, to: calls }, ")
        proxy = Proxy(text)
        errors, stop = [], threading.Event()

        def load():
            while not stop.is_set():
                out = subprocess.run(["h2load", "-n20000", "-c10", "-m32", f"http://127.0.0.1:{proxy.port}/"], capture_output=True, text=True).stdout
                if "20000 succeeded, 0 failed, 0 errored" not in out:
                    errors.append(out)
        thread = threading.Thread(target=load)
        thread.start()
        turn, sent = threading.Condition(), []

        def requests():
            for i in range(1000):
                with turn:
                    turn.wait_for(lambda: len(sent) > i, 60)
                yield b"%d" % i
        try:
            with calls.channel(proxy.port) as channel:
                call = channel.stream_stream("/demo.Echo/Both")(requests(), timeout=600)
                for i in range(1000):
                    # Every tenth file is bad, and changes nothing.
                    proxy.write(text if i % 10 else "listeners: nonsense")
                    proxy.reload()
                    with turn:
                        sent.append(i)
                        turn.notify()
                    self.assertEqual(next(call), b"%d" % i)
                self.assertRaises(StopIteration, next, call)
        finally:
            stop.set()
            thread.join()
        self.assertEqual(errors, [])
        for each in (proxy, server, one, two):
            each.stop()


if __name__ == "__main__":
    unittest.main()

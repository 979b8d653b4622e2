"""Writes what the HTTP/2 cases send into the corpora of the fuzzing targets: `python3 corpora.py`, after cases were added."""
import os, re
import hpack
import test_h2_conformance, test_h2_origins
from frames import *
from harness import ROOT

CORPORA = os.path.join(ROOT, "Tests", "Fixtures", "fuzz")


class Paper:
    """A socket that only remembers."""

    def __init__(self):
        self.bytes = b""

    def sendall(self, data):
        self.bytes += data

    def settimeout(self, seconds):
        pass

    def close(self):
        pass


def write(target, section, title, data):
    name = "case-" + re.sub(r"[^a-z0-9]+", "-", f"{section} {title}".lower()).strip("-")[:60]
    if len(data) < 20_000:
        with open(os.path.join(CORPORA, target, name), "wb") as file:
            # The first byte draws how the rest is cut.
            file.write(b"\x07" + data)


for section, title, act, _ in test_h2_conformance.CASES:
    paper = Paper()
    client = Client(0, act is not None, connection=paper)
    if act is None:
        client.send(PREFACE)
        client.request()
    else:
        act(client)
    write("http2-client", section, title, paper.bytes)
for section, title, act, *_ in test_h2_origins.CASES:
    paper = Paper()
    peer = test_h2_origins.Peer(paper)
    peer.stream = 1
    peer.send(settings())
    act(peer)
    write("http2-origin", section, title, paper.bytes)

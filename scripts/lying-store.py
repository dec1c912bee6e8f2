#!/usr/bin/env python3
"""lying-store: stands before an S3 server and answers some reads wrongly, for scripts/test-damage.

  scripts/lying-store.py UPSTREAM EVERY SEED

UPSTREAM is the server's address. One GET or HEAD in EVERY or so of an object below log/ or data/ is answered wrongly: a bit of the
body is another one, its end is cut off, or the object is "not there". The headers say what they said, but for the length of
what arrives. Everything else passes as it is: lists, puts and refusals. Which reads are wrong follows from SEED and from how many came before.

The first line on standard output is the address to use in place of UPSTREAM. GET /-/told there says how many reads were answered
wrongly, and how many there were.
"""
import http.client
import itertools
import random
import sys
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

upstream = urllib.parse.urlsplit(sys.argv[1]).netloc
every, seed = int(sys.argv[2]), sys.argv[3]
reads, wrong = itertools.count(1), itertools.count(1)
told = [0, 0]  # wrong answers, reads


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def relay(self):
        if self.path == "/-/told":
            return self.answer(200, [], f"{told[0]} {told[1]}\n".encode())
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        server = http.client.HTTPConnection(upstream, timeout=60)
        try:
            # The host that was signed is the one that was asked: ours.
            server.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                server.putheader(name, value)
            server.endheaders(body)
            answer = server.getresponse()
            status, headers, bytes_ = answer.status, answer.getheaders(), answer.read()
        finally:
            server.close()
        path = urllib.parse.urlsplit(self.path).path
        if self.command in ("GET", "HEAD") and status == 200 and ("/log/" in path or "/data/" in path):
            status, bytes_ = self.perhaps_wrong(status, bytes_)
        self.answer(status, headers, bytes_)

    def perhaps_wrong(self, status, bytes_):
        told[1] = number = next(reads)
        draw = random.Random(f"{seed}:{number}")
        if draw.randrange(every) != 0:
            return status, bytes_
        told[0] = next(wrong)
        kind = draw.choice(["bit", "end", "absent"]) if bytes_ else "absent"
        if kind == "bit":
            at = draw.randrange(len(bytes_))
            return status, bytes_[:at] + bytes([bytes_[at] ^ 1 << draw.randrange(8)]) + bytes_[at + 1 :]
        if kind == "end":
            return status, bytes_[: draw.randrange(len(bytes_))]
        return 404, b"<Error><Code>NoSuchKey</Code><Message>no such key</Message></Error>" if bytes_ else b""

    def answer(self, status, headers, bytes_):
        self.send_response_only(status)
        length = None
        for name, value in headers:
            if name.lower() == "content-length":
                length = value
            elif name.lower() not in ("connection", "transfer-encoding", "keep-alive"):
                self.send_header(name, value)
        is_head = self.command == "HEAD"
        self.send_header("Content-Length", length if is_head and length and status == 200 else str(len(bytes_)))
        self.end_headers()
        if not is_head and status not in (204, 304):
            self.wfile.write(bytes_)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = relay

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


server = Server(("127.0.0.1", 0), Handler)
print(f"http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()

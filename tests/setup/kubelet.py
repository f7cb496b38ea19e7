"""What a node says to an API server that wants to run something in a container there: that it may.

    kubelet.py CERTIFICATE KEY PORT

It answers every request over TLS with 101 and ends the stream: no process is ever started, which no audit
log can tell from one that ended at once.
"""

import socketserver
import ssl
import sys

ANSWER = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n"


class Node(socketserver.StreamRequestHandler):
    """One request."""

    def handle(self):
        while self.rfile.readline() not in (b"\r\n", b""):
            pass
        self.wfile.write(ANSWER)


class Server(socketserver.ThreadingTCPServer):
    """Loopback only, with TLS."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, certificate, key, port):
        super().__init__(("127.0.0.1", port), Node)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.socket = context.wrap_socket(self.socket, server_side=True)


if __name__ == "__main__":
    CERTIFICATE, KEY, PORT = sys.argv[1:]
    Server(CERTIFICATE, KEY, int(PORT)).serve_forever()

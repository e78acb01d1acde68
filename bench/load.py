"""Sends signed events to a webhook from some clients at once, each over one connection, and says how many a second.

python -m bench.load PORT PATH CLIENTS REQUESTS       (a process of its own, so that it shares no lock with the front)
"""

import socket
import subprocess
import sys
import threading
import time
from itertools import islice

from bench.samples import PROCESSING, bodies, http_request
from local.child_process import CHECKOUT
from tests.support.stripe_requests import SECRET


def events_a_second(port: int, path: str, *, clients: int, requests: int) -> float:
    """Send so many requests and return how many were answered with 200 in a second; raise when one was not."""
    command = [sys.executable, "-m", "bench.load", str(port), path, str(clients), str(requests)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the load generator failed: {done.stderr}")
    return float(done.stdout)


def main(port: int, path: str, clients: int, requests: int) -> None:
    """Make all requests first, then send them, and print the rate."""
    made = [http_request(body, path, secret=SECRET) for body in islice(bodies(PROCESSING), requests)]
    shares = [made[number::clients] for number in range(clients)]
    connections = [socket.create_connection(("127.0.0.1", port)) for _ in shares]
    refused: list[str] = []
    threads = [
        threading.Thread(target=_send, args=(connection, share, refused))
        for connection, share in zip(connections, shares, strict=True)
    ]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - begun
    if refused:
        sys.exit(f"{len(refused)} requests were not taken, such as: {refused[0]}")
    print(requests / seconds)


def _send(connection: socket.socket, share: list[bytes], refused: list[str]) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with connection, connection.makefile("rb") as answers:
        for request in share:
            connection.sendall(request)
            status = answers.readline()
            length = 0
            while (header := answers.readline().lower()) not in (b"\r\n", b""):
                if header.startswith(b"content-length:"):
                    length = int(header.split(b":")[1])
            body = answers.read(length)
            if b" 200 " not in status or b"queued" in body:
                refused.append(f"{status!r} {body!r}")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))

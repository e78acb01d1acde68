"""Signs a payload as its gateway does, sends it to the running stack, and prints the answer.

    make send EVENT=events/stripe/payment_intent.succeeded.json
    make send EVENT=… SECRET=bad          signed with another secret than ours: must be refused
    make send EVENT=… GATEWAY=stripe      where the folder of the file does not say which gateway

A new gateway adds its signing function to SIGNERS.
"""

import argparse
import hashlib
import hmac
import http.client
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from local import stack_file

TIMEOUT_SECONDS = 30

# (body, the gateway's part of stack.json, another secret or "", now) -> headers
Signer = Callable[[bytes, Mapping[str, Any], str, int], dict[str, str]]


class EventNotSendable(Exception):
    """The event cannot be sent; the text says why."""


def sign_stripe(body: bytes, gateway: Mapping[str, Any], secret: str, unix_seconds: int) -> dict[str, str]:
    """Return Stripe's signature header: HMAC-SHA256 over the time and the exact bytes."""
    key = secret or str(gateway["signing_secret"])
    signature = hmac.new(key.encode(), f"{unix_seconds}.".encode() + body, hashlib.sha256).hexdigest()
    return {"Stripe-Signature": f"t={unix_seconds},v1={signature}"}


SIGNERS: dict[str, Signer] = {"stripe": sign_stripe}


def send(gateway_name: str, body: bytes, stack: Mapping[str, Any], *, secret: str = "") -> tuple[int, str]:
    """Sign the bytes as the gateway does, POST them to its URL in the stack, and return status and answer."""
    signer, gateway = SIGNERS.get(gateway_name), stack["gateways"].get(gateway_name)
    if signer is None or gateway is None:
        known = ", ".join(sorted(SIGNERS.keys() & stack["gateways"].keys())) or "none"
        raise EventNotSendable(f"there is no gateway {gateway_name!r} here; known: {known}")
    headers = {"Content-Type": "application/json", **signer(body, gateway, secret, int(time.time()))}
    return post(str(gateway["url"]), body, headers)


def post(url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, str]:
    """POST the bytes and return status and answer."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("POST", parts.path, body, dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    except OSError as reason:
        raise EventNotSendable(f"{url} does not answer: {reason}") from reason
    finally:
        connection.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Send one file; return 0 when the stack took it."""
    parser = argparse.ArgumentParser(prog="make send", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("event", type=Path, help="file with the payload; its exact bytes are sent")
    parser.add_argument("--gateway", default="", help="default: the name of the file's folder")
    parser.add_argument("--secret", default="", help="sign with this secret instead of ours")
    parser.add_argument("--folder", type=Path, default=Path(".local"), help="where stack.json is")
    options = parser.parse_args(arguments)
    try:
        body = options.event.read_bytes()
        stack = stack_file.read(options.folder)
        gateway = options.gateway or _gateway_of(options.event, stack)
        status, answer = send(gateway, body, stack, secret=options.secret)
    except (EventNotSendable, stack_file.StackNotRunning, OSError) as reason:
        print(f"gatehouse: {reason}", file=sys.stderr)
        return 2
    print(f"{gateway} {status} {answer}")
    return 0 if status < 300 else 1


def _gateway_of(event: Path, stack: Mapping[str, Any]) -> str:
    """Return the nearest folder of the path that is named like a gateway."""
    for part in reversed(event.resolve().parent.parts):
        if part in stack["gateways"]:
            return part
    raise EventNotSendable(f"which gateway sends {event}? Say GATEWAY=…")


if __name__ == "__main__":
    sys.exit(main())

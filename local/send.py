"""Signs a payload as its gateway does, sends it to the running stack, and prints the answer.

    make send EVENT=events/stripe/payment_intent.succeeded.json
    make send EVENT=… SECRET=bad          signed with another secret than ours: must be refused
    make send EVENT=… GATEWAY=paypal      where the folder of the file does not say which gateway
    make send EVENT=… ACCOUNT=acme        to another account than the default one; its secret is asked for, or given:
                                          SECRET=<the secret> or SECRET=@<file>

What signs is Stripe's signing secret, PayPal's webhook id (with the private key of this machine), the secret key of
Paystack and SaySwitch, and the token of MX Merchant's URL. A new gateway adds its signing function to SIGNERS.
"""

import argparse
import base64
import binascii
import hmac
import http.client
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from getpass import getpass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import uuid4

from local import stack_file

TIMEOUT_SECONDS = 30
DEFAULT_ACCOUNT = "default"

# (body, the gateway's part of stack.json, another secret or "", now) -> headers
Signer = Callable[[bytes, Mapping[str, Any], str, int], dict[str, str]]


class EventNotSendable(Exception):
    """The event cannot be sent; the text says why."""


def sign_stripe(body: bytes, gateway: Mapping[str, Any], secret: str, unix_seconds: int) -> dict[str, str]:
    """Return Stripe's signature header: HMAC-SHA256 over the time and the exact bytes."""
    key = secret or str(gateway["signing_secret"])
    signature = hmac.digest(key.encode(), f"{unix_seconds}.".encode() + body, "sha256").hex()
    return {"Stripe-Signature": f"t={unix_seconds},v1={signature}"}


def sign_paypal(body: bytes, gateway: Mapping[str, Any], secret: str, unix_seconds: int) -> dict[str, str]:
    """Return PayPal's headers: RSA over an id, the time, the webhook's id and the checksum of the exact bytes."""
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = load_pem_private_key(Path(gateway["private_key_file"]).read_bytes(), password=None)
    if not isinstance(key, RSAPrivateKey):
        raise EventNotSendable(f"{gateway['private_key_file']} is no RSA key, and PayPal signs with no other")
    transmission_id = str(uuid4())
    moment = f"{datetime.fromtimestamp(unix_seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"
    signed = f"{transmission_id}|{moment}|{secret or gateway['webhook_id']}|{binascii.crc32(body)}"
    return {
        "PAYPAL-TRANSMISSION-ID": transmission_id,
        "PAYPAL-TRANSMISSION-TIME": moment,
        "PAYPAL-TRANSMISSION-SIG": base64.b64encode(key.sign(signed.encode(), PKCS1v15(), SHA256())).decode(),
        "PAYPAL-CERT-URL": str(gateway["cert_url"]),
        "PAYPAL-AUTH-ALGO": "SHA256withRSA",
        "PAYPAL-AUTH-VERSION": "v2",
    }


def sign_paystack(body: bytes, gateway: Mapping[str, Any], secret: str, _unix_seconds: int) -> dict[str, str]:
    """Return Paystack's signature header: HMAC-SHA512 over the exact bytes."""
    return {"x-paystack-signature": _hmac_sha512(body, secret or str(gateway["secret_key"]))}


def sign_sayswitch(body: bytes, gateway: Mapping[str, Any], secret: str, _unix_seconds: int) -> dict[str, str]:
    """Return SaySwitch's signature header: HMAC-SHA512 over the exact bytes."""
    return {"payloadSignature": _hmac_sha512(body, secret or str(gateway["secret_key"]))}


def sign_mx_merchant(_body: bytes, _gateway: Mapping[str, Any], _secret: str, _unix_seconds: int) -> dict[str, str]:
    """Return no header: MX Merchant signs nothing, and the token in the URL stands for a signature."""
    return {}


def _hmac_sha512(body: bytes, key: str) -> str:
    return hmac.digest(key.encode(), body, "sha512").hex()


SIGNERS: dict[str, Signer] = {
    "stripe": sign_stripe,
    "paypal": sign_paypal,
    "paystack": sign_paystack,
    "sayswitch": sign_sayswitch,
    "mx_merchant": sign_mx_merchant,
}


def send(
    gateway_name: str, body: bytes, stack: Mapping[str, Any], *, account: str = "", secret: str = ""
) -> tuple[int, str]:
    """Sign the bytes as the gateway does, POST them to its URL in the stack, and return status and answer."""
    signer, gateway = SIGNERS.get(gateway_name), stack["gateways"].get(gateway_name)
    if signer is None or gateway is None:
        known = ", ".join(sorted(SIGNERS.keys() & stack["gateways"].keys())) or "none"
        raise EventNotSendable(f"there is no gateway {gateway_name!r} here; known: {known}")
    headers = {"Content-Type": "application/json", **signer(body, gateway, secret, int(time.time()))}
    return post(address(gateway_name, str(gateway["url"]), account=account, secret=secret), body, headers)


def address(gateway_name: str, url: str, *, account: str = "", secret: str = "") -> str:
    """Return the webhook of an account, made from that of the default one; MX Merchant's ends with its secret."""
    if gateway_name == "mx_merchant":
        start, default, token = url.rsplit("/", 2)
        return f"{start}/{account or default}/{quote(secret or token, safe='')}"
    return f"{url}/{account}" if account else url


def post(url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, str]:
    """POST the bytes and return status and answer."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("POST", parts.path + (f"?{parts.query}" if parts.query else ""), body, dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    except OSError as reason:
        # Not the path: it may hold the token of a gateway that signs nothing.
        raise EventNotSendable(f"{parts.scheme}://{parts.netloc} does not answer: {reason}") from reason
    finally:
        connection.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Send one file; return 0 when the stack took it."""
    parser = argparse.ArgumentParser(prog="make send", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("event", type=Path, help="file with the payload; its exact bytes are sent")
    parser.add_argument("--gateway", default="", help="default: the name of the file's folder")
    parser.add_argument("--account", default="", help="default: the account that `make run` has made")
    parser.add_argument("--secret", default="", help="sign with this secret, or the one in @<file>, instead of ours")
    parser.add_argument("--folder", type=Path, default=Path(".local"), help="where stack.json is")
    options = parser.parse_args(arguments)
    try:
        body = options.event.read_bytes()
        stack = stack_file.read(options.folder)
        gateway = options.gateway or _gateway_of(options.event, stack)
        secret = _secret(options.secret, gateway, options.account)
        status, answer = send(gateway, body, stack, account=options.account, secret=secret)
    except (EventNotSendable, stack_file.StackNotRunning, OSError) as reason:
        print(f"gatehouse: {reason}", file=sys.stderr)
        return 2
    print(f"{gateway} {status} {answer}")
    return 0 if status < 300 else 1


def _secret(said: str, gateway: str, account: str) -> str:
    """Return the secret to sign with; "" for our own, which only the default account has in stack.json."""
    if said.startswith("@"):
        return Path(said.removeprefix("@")).read_text().strip()
    if said or account in ("", DEFAULT_ACCOUNT):
        return said
    if not sys.stdin.isatty():
        raise EventNotSendable(
            f"stack.json has no secret of {gateway}/{account}: give SECRET=@<file> or SECRET=<secret>"
        )
    return getpass(f"what {gateway} signs with for {account}: ")


def _gateway_of(event: Path, stack: Mapping[str, Any]) -> str:
    """Return the nearest folder of the path that is named like a gateway."""
    for part in reversed(event.resolve().parent.parts):
        if part in stack["gateways"]:
            return part
    raise EventNotSendable(f"which gateway sends {event}? Say GATEWAY=…")


if __name__ == "__main__":
    sys.exit(main())

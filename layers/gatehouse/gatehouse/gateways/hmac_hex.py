"""Signatures that are an HMAC of the raw body, written in hexadecimal digits."""

import hmac
import re
from collections.abc import Sequence

from gatehouse.errors import SignatureRefused
from gatehouse.http_request import HttpRequest

HEX_DIGITS = {"sha256": 64, "sha512": 128}
_HEX = re.compile("[0-9a-fA-F]+", re.ASCII)


def signer_of_body(request: HttpRequest, header: str, secrets: Sequence[str], algorithm: str) -> int:
    """Return the index of the secret that made the signature in a header; raise SignatureRefused when none did."""
    said = request.headers.get(header.lower(), "")
    if not said:
        raise SignatureRefused(f"there is no {header} header")
    # Upper case is the same number. A header that came twice is joined by a comma, which is no digit.
    if len(said) != HEX_DIGITS[algorithm] or not _HEX.fullmatch(said):
        raise SignatureRefused(f"the {header} header is not {HEX_DIGITS[algorithm]} hexadecimal digits")
    return signer(request.body, [said.lower().encode()], secrets, algorithm)


def signer(signed: bytes, signatures: Sequence[bytes], secrets: Sequence[str], algorithm: str) -> int:
    """Return the index of the first secret that made one of the signatures, after comparing every pair."""
    usable = [(index, secret) for index, secret in enumerate(secrets) if secret.strip()]
    if not usable:  # anybody can sign with an empty key
        raise SignatureRefused("no signing secret is configured for this endpoint")
    found: list[int] = []
    for index, secret in usable:
        expected = hmac.digest(secret.encode(), signed, algorithm).hex().encode()
        for signature in signatures:
            if hmac.compare_digest(expected, signature):
                found.append(index)
    if not found:
        raise SignatureRefused("no signature matches: another secret, or the body was changed on its way")
    return found[0]

"""Is this request really from MX Merchant, and for this merchant?

MX Merchant signs nothing. What a request can show is

    the secret token in the URL that the merchant gave to MX Merchant, at least 32 characters
    the merchantId in its body, which must be the account's own
    where the account says so, a header with the HMAC of the raw body, as something between us and them may add it

Even so it is a hint, to be confirmed by asking for the payment. What is wrong with a request is answered with 401.
"""

import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from gatehouse.accounts import GatewayAccount
from gatehouse.errors import SettingError, SignatureRefused
from gatehouse.gateways import Verified
from gatehouse.gateways.fields import identifier_or_number
from gatehouse.gateways.hmac_hex import HEX_DIGITS, signer_of_body
from gatehouse.gateways.json_body import read_json_object
from gatehouse.http_request import HttpRequest

FEWEST_TOKEN_CHARACTERS = 32


class _Hmac(NamedTuple):
    header: str
    algorithm: str
    secrets: tuple[str, ...]


def verify(request: HttpRequest, account: GatewayAccount, *, now: datetime) -> Verified:  # noqa: ARG001 - no time is signed
    """Return which of the account's tokens the URL held; raise SignatureRefused (401) for a stranger.

    A body that is not JSON raises RequestRefused, an account that is not set up for this SettingError.
    """
    merchant_id, header_hmac = _merchant_id(account), _hmac(account)
    token = request.path_parameters.get("token") or request.query.get("token") or ""
    token_index = _matching_token(token, account.signing_secrets)
    if header_hmac:
        try:
            signer_of_body(request, header_hmac.header, header_hmac.secrets, header_hmac.algorithm)
        except SignatureRefused as reason:
            raise _refused(str(reason)) from reason
    if identifier_or_number(read_json_object(request.body).get("merchantId")) != merchant_id:
        raise _refused("the merchantId in the body is not this account's")
    return Verified(token_index)


def _matching_token(said: str, tokens: Sequence[str]) -> int:
    """Return the index of the first token that is the one said, after comparing all of them."""
    usable = [(index, token) for index, token in enumerate(tokens) if token.strip()]
    if any(len(token) < FEWEST_TOKEN_CHARACTERS for _index, token in usable):
        raise SettingError(f"a token of MX Merchant has fewer than {FEWEST_TOKEN_CHARACTERS} characters")
    if not usable:
        raise _refused("no token is configured for this endpoint")
    if not said:
        raise _refused("there is no token in the URL")
    spelled = said.encode(errors="replace")
    found = [index for index, token in usable if hmac.compare_digest(token.encode(), spelled)]
    if not found:
        raise _refused("the token in the URL is not this account's")
    return found[0]


def _merchant_id(account: GatewayAccount) -> str:
    if (merchant_id := identifier_or_number(account.more.get("merchant_id"))) is None:
        raise SettingError(f"the account {account.gateway}/{account.account} must say its merchant_id")
    return merchant_id


def _hmac(account: GatewayAccount) -> _Hmac | None:
    """Return how the account's requests are signed, if they are; half a configuration is none that may be skipped."""
    said = account.more.get("hmac")
    if said is None:
        return None
    if not isinstance(said, Mapping):
        raise _wrong_hmac(account, "is not an object")
    header, algorithm, secrets = (said.get(name) for name in ("header", "algorithm", "secrets"))
    if not isinstance(header, str) or not header:
        raise _wrong_hmac(account, "has no header")
    if not isinstance(algorithm, str) or algorithm not in HEX_DIGITS:
        raise _wrong_hmac(account, f"has an algorithm other than {' and '.join(HEX_DIGITS)}")
    usable = [each for each in secrets if isinstance(each, str) and each.strip()] if isinstance(secrets, list) else []
    if not usable:
        raise _wrong_hmac(account, "has no secrets")
    return _Hmac(header, algorithm, tuple(usable))


def _wrong_hmac(account: GatewayAccount, reason: str) -> SettingError:
    return SettingError(f"the hmac of the account {account.gateway}/{account.account} {reason}")


def _refused(reason: str) -> SignatureRefused:
    return SignatureRefused(reason, status=401)

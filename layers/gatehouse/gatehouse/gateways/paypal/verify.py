"""Is this request really from PayPal?

    PAYPAL-TRANSMISSION-ID    0f14627d-cc41-11f0-9ad0-21cf84660aee
    PAYPAL-TRANSMISSION-TIME  2025-11-28T10:00:24Z
    PAYPAL-TRANSMISSION-SIG   <base64>
    PAYPAL-AUTH-ALGO          SHA256withRSA
    PAYPAL-CERT-URL           https://api.paypal.com/v1/notifications/certs/CERT-…

The signature is RSA (PKCS #1 v1.5, SHA-256) over "<transmission id>|<time>|<webhook id>|<CRC-32 of the raw body>". The
webhook id is not in the request: an account's `signing_secrets` are the ids of its webhooks, and one that fits says
that PayPal signed for this account. https://developer.paypal.com/api/rest/webhooks/rest

PayPal signs with two keys. The name in the certificate tells real money from the sandbox, and each is believed only
by accounts of its mode. The Webhooks Simulator signs with the live key, but for the webhook id `WEBHOOK_ID`, which is
everybody's: it is believed only where no real money is.
"""

import base64
import binascii
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from gatehouse.accounts import GatewayAccount
from gatehouse.errors import GatewayError, ServiceUnavailable, SignatureRefused
from gatehouse.gateways import Verified
from gatehouse.http_request import HttpRequest

ALGORITHM = "SHA256withRSA"
SIMULATOR_WEBHOOK_ID = "WEBHOOK_ID"

# PayPal repeats a request for three days, perhaps with the time of its first try, and documents no limit. There must be
# one all the same: a signature covers no more of the body than its CRC-32, so whoever gets hold of the headers of one
# request can find another body for them; and a key that leaks after its certificate has ended could sign for the past.
# A time ahead of our clock is accepted, because refusing it would lose every event while our clock is slow.
TOLERANCE = timedelta(days=4)

_TRANSMISSION_ID = re.compile(r"[A-Za-z0-9-]{1,100}", re.ASCII)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z", re.ASCII)
_SIGNATURE = re.compile(r"[A-Za-z0-9+/]{1,1400}={0,2}", re.ASCII)  # of a key of 8192 bits at most
_CERTIFICATE_PATH = re.compile(r"/v1/notifications/certs/CERT-[A-Za-z0-9-]{1,100}", re.ASCII)


class Sender(NamedTuple):
    """One of the two PayPals: the one with real money, and the sandbox."""

    livemode: bool
    origin: str  # where its certificates are
    certificate_name: str


LIVE = Sender(True, "https://api.paypal.com", "messageverificationcerts.paypal.com")
SANDBOX = Sender(False, "https://api.sandbox.paypal.com", "messageverificationcerts.sandbox.paypal.com")


class Transmission(NamedTuple):
    """What PayPal's headers say of a request; each is of the form that it must have, and none is proved yet."""

    id: str
    time: str  # as it stands, for it is signed
    sent_at: datetime
    signature: str
    certificate_url: str
    sender: Sender


class Certificate(Protocol):
    """A certificate under which PayPal may have signed."""

    def refusal(self, name: str, at: datetime) -> str | None:
        """Say why it does not stand for this name at this time; None when it does."""
        ...

    def has_signed(self, signature: bytes, message: bytes) -> bool:
        """Return whether its key made this signature."""
        ...


class CertificateSource(Protocol):
    """Where certificates come from: PayPal's hosts, and in the local stage one stand-in for the sandbox's."""

    stand_in_host: str

    def certificate(self, url: str) -> Certificate:
        """Return the certificate at a URL whose host was checked; raise ServiceUnavailable when it cannot be had."""
        ...


class Postback(Protocol):
    """PayPal's own answer to whether it signed a request."""

    def has_signed(self, transmission: Transmission, webhook_id: str, body: bytes) -> bool:
        """Ask PayPal; raise GatewayError when it does not answer."""
        ...


def verify(
    request: HttpRequest, account: GatewayAccount, *, now: datetime, certificates: CertificateSource
) -> Verified:
    """Return which of the account's webhook ids PayPal signed for; raise SignatureRefused when for none of them.

    Nothing is fetched before all that needs no certificate is in order, the certificate's host above all.
    """
    transmission = read_transmission(request, now=now, stand_in_host=certificates.stand_in_host)
    candidates = _own_webhook_ids(account, transmission.sender) + _simulators_webhook_id(account)
    _require_some(candidates, account, transmission.sender)
    certificate = certificates.certificate(transmission.certificate_url)
    if refusal := certificate.refusal(transmission.sender.certificate_name, transmission.sent_at):
        raise SignatureRefused(f"the certificate does not prove that PayPal signed: {refusal}")
    signature = base64.b64decode(transmission.signature)
    checksum = binascii.crc32(request.body)
    for index, webhook_id in candidates:
        signed = f"{transmission.id}|{transmission.time}|{webhook_id}|{checksum}"
        if certificate.has_signed(signature, signed.encode()):
            return Verified(index)
    raise _no_match(account, transmission.sender)


def verify_by_postback(
    request: HttpRequest, account: GatewayAccount, *, now: datetime, postback: Callable[[Sender], Postback]
) -> Verified:
    """Ask PayPal itself which of the account's webhook ids it signed for; raise SignatureRefused when for none of them.

    The simulator's requests are refused, because PayPal does not know them as its own here. No answer is
    ServiceUnavailable, so that PayPal sends the request again.
    """
    transmission = read_transmission(request, now=now, stand_in_host="")
    candidates = _own_webhook_ids(account, transmission.sender)
    _require_some(candidates, account, transmission.sender)
    for index, webhook_id in candidates:
        try:
            if postback(transmission.sender).has_signed(transmission, webhook_id, request.body):
                return Verified(index)
        except GatewayError as reason:
            raise ServiceUnavailable(f"PayPal could not be asked whether it signed: {reason}") from reason
    raise _no_match(account, transmission.sender)


def read_transmission(request: HttpRequest, *, now: datetime, stand_in_host: str) -> Transmission:
    """Return what the headers say; raise SignatureRefused when one is missing, malformed, sent twice or too old.

    API Gateway joins a header that came twice with a comma, which none of the forms has.
    """
    algorithm = _header(request, "PAYPAL-AUTH-ALGO")
    if algorithm != ALGORITHM:
        raise SignatureRefused(f"the PAYPAL-AUTH-ALGO header is not {ALGORITHM}")
    url = _header(request, "PAYPAL-CERT-URL")
    time = _header(request, "PAYPAL-TRANSMISSION-TIME", _TIME)
    transmission = Transmission(
        id=_header(request, "PAYPAL-TRANSMISSION-ID", _TRANSMISSION_ID),
        time=time,
        sent_at=_moment(time),
        signature=_header(request, "PAYPAL-TRANSMISSION-SIG", _SIGNATURE),
        certificate_url=url,
        sender=_sender(url, stand_in_host),
    )
    if len(transmission.signature) % 4:
        raise SignatureRefused("the PAYPAL-TRANSMISSION-SIG header is not base64, or was cut")
    if now - transmission.sent_at > TOLERANCE:
        raise SignatureRefused(f"the request was sent more than {TOLERANCE.days} days ago")
    return transmission


def _header(request: HttpRequest, name: str, form: re.Pattern[str] | None = None) -> str:
    said = request.headers.get(name.lower(), "")
    if not said:
        raise SignatureRefused(f"there is no {name} header")
    if form and not form.fullmatch(said):
        raise SignatureRefused(f"the {name} header does not have the form that it must have")
    return said


def _moment(time: str) -> datetime:
    try:
        return datetime.fromisoformat(time)
    except ValueError as reason:  # the 19th month
        raise SignatureRefused("the PAYPAL-TRANSMISSION-TIME header is not a time") from reason


def _sender(url: str, stand_in_host: str) -> Sender:
    """Return whose certificate a URL is of. A sender who could name any other place would bring its own certificate."""
    origins = {LIVE.origin: LIVE, SANDBOX.origin: SANDBOX}
    if stand_in_host:
        origins[f"http://{stand_in_host}"] = SANDBOX
    for origin, sender in origins.items():
        # The path begins at the slash behind the host, so that no port, user name or longer host name fits between.
        if url.startswith(origin) and _CERTIFICATE_PATH.fullmatch(url, len(origin)):
            return sender
    raise SignatureRefused("the PAYPAL-CERT-URL header does not lead to a certificate of PayPal's")


def _own_webhook_ids(account: GatewayAccount, sender: Sender) -> list[tuple[int, str]]:
    if _is_of_the_other_mode(account, sender):
        return []
    return [
        (index, webhook_id)
        for index, webhook_id in enumerate(account.signing_secrets)
        if webhook_id.strip() and webhook_id != SIMULATOR_WEBHOOK_ID  # also where somebody configured it
    ]


def _simulators_webhook_id(account: GatewayAccount) -> list[tuple[int, str]]:
    # It is none of the account's, so it has no place among them; as the first it is not counted as an old one in use.
    return [] if account.mode == "live" else [(0, SIMULATOR_WEBHOOK_ID)]


def _is_of_the_other_mode(account: GatewayAccount, sender: Sender) -> bool:
    return account.mode != "both" and sender.livemode != (account.mode == "live")


def _require_some(candidates: list[tuple[int, str]], account: GatewayAccount, sender: Sender) -> None:
    if not candidates:
        raise SignatureRefused(_wrong_mode(account, sender) or "no webhook id is configured for this endpoint")


def _no_match(account: GatewayAccount, sender: Sender) -> SignatureRefused:
    other = "no signature matches: another webhook id, or the body was changed on its way"
    return SignatureRefused(_wrong_mode(account, sender) or other)


def _wrong_mode(account: GatewayAccount, sender: Sender) -> str | None:
    if not _is_of_the_other_mode(account, sender):
        return None
    return f"it is of {'live' if sender.livemode else 'sandbox'} PayPal, and this is a {account.mode} account"

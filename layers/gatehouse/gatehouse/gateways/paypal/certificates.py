"""The certificates under which PayPal signs: fetched, kept, and believed or not.

PayPal's file of a certificate holds the certificate alone. The authority between it and a root is missing, and the root
of those that were issued until 2025 (DigiCert High Assurance EV) is no longer among the roots of certifi. So a chain is
required where the file brings one, and where it brings none a certificate is believed when all of these hold:

- it came over verified TLS from PayPal's own host, so that nobody but PayPal can have put it there;
- it is for PayPal's name for signing messages, and was valid when the message was sent;
- it says that one of DigiCert's authorities for extended validation issued it.

What is fetched from the stand-in of the local stage came over no TLS, and always needs a chain to the stand-in's root.
"""

import base64
import re
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gatehouse.errors import ServiceUnavailable, SettingError, SignatureRefused
from gatehouse.settings import settings

if TYPE_CHECKING:  # the libraries cost 250 ms together, which the first request pays and not the start
    import httpx
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.x509.verification import Store

FETCH_SECONDS = 3.0
MOST_FILE_BYTES = 64 * 1024  # a certificate has 3 kB
MOST_KEPT = 16  # PayPal issues one a year for each of its two names
MOST_FAILURES_KEPT = 100
FAILURE_SECONDS = 60
MOST_FETCHES_A_MINUTE = 20  # anybody can name certificates that do not exist; PayPal must not suffer for it

LEAST_KEY_BITS, MOST_KEY_BITS = 2048, 8192
ISSUERS = ("DigiCert SHA2 Extended Validation Server CA", "DigiCert EV RSA CA G2")
ISSUER_ORGANISATION = "DigiCert Inc"

_NOT_THERE = (400, 404, 410)  # PayPal's word that it has no such certificate; any other refusal may be about us
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----\n(.*?)-----END CERTIFICATE-----", re.DOTALL)


class MessageCertificate:
    """A certificate as it was fetched, with what came along to prove it."""

    def __init__(self, file: "list[x509.Certificate]", roots: "Store", *, chain_required: bool) -> None:
        self._certificate, self._intermediates = file[0], file[1:]
        self._roots = roots
        self._chain_required = chain_required or bool(self._intermediates)
        self._names = _names(self._certificate)
        self._key = _key(self._certificate)

    def refusal(self, name: str, at: datetime) -> str | None:
        """Say why it does not stand for this name at this time; None when it does."""
        if name not in self._names:
            return f"it is not for {name}"
        if not self._certificate.not_valid_before_utc <= at <= self._certificate.not_valid_after_utc:
            return f"it was not valid at {at:%Y-%m-%d %H:%M}"
        if not LEAST_KEY_BITS <= self._key.key_size <= MOST_KEY_BITS:
            return f"its key has {self._key.key_size} bits"
        if self._leads_to_a_root(name, at) or (not self._chain_required and self._is_by_a_known_issuer()):
            return None
        return f"it leads to no root that we trust; issued by {self._certificate.issuer.rfc4514_string()[:200]}"

    def has_signed(self, signature: bytes, message: bytes) -> bool:
        """Return whether its key made this signature."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.hashes import SHA256

        try:
            self._key.verify(signature, message, PKCS1v15(), SHA256())
        except InvalidSignature:
            return False
        return True

    def _leads_to_a_root(self, name: str, at: datetime) -> bool:
        from cryptography.x509 import DNSName
        from cryptography.x509.verification import PolicyBuilder, VerificationError

        verifier = PolicyBuilder().store(self._roots).time(at).build_server_verifier(DNSName(name))
        try:
            verifier.verify(self._certificate, self._intermediates)
        except VerificationError:
            return False
        return True

    def _is_by_a_known_issuer(self) -> bool:
        from cryptography.x509.oid import NameOID

        issuer = self._certificate.issuer
        organisations = {each.value for each in issuer.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)}
        common_names = {each.value for each in issuer.get_attributes_for_oid(NameOID.COMMON_NAME)}
        return organisations == {ISSUER_ORGANISATION} and len(common_names) == 1 and common_names <= set(ISSUERS)


class _Failure(NamedTuple):
    at: float
    kind: type[ServiceUnavailable] | type[SignatureRefused]
    message: str


class CertificateStore:
    """The certificates that this process has fetched; several stand side by side, as they do when PayPal renews one."""

    def __init__(
        self,
        *,
        stand_in_host: str = "",
        stand_in_root_file: str = "",
        clock: Callable[[], float] = time.time,
        transport: "httpx.BaseTransport | None" = None,
    ) -> None:
        self.stand_in_host = stand_in_host
        self._stand_in_root_file = stand_in_root_file
        self._clock = clock
        self._transport = transport
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, MessageCertificate] = OrderedDict()
        self._failures: OrderedDict[str, _Failure] = OrderedDict()
        self._fetches: deque[float] = deque(maxlen=MOST_FETCHES_A_MINUTE)

    def certificate(self, url: str) -> MessageCertificate:
        """Return the certificate at a URL whose host was checked.

        Raise SignatureRefused when PayPal has none there, and ServiceUnavailable when it cannot be asked.
        """
        if known := self._kept.get(url):
            return known
        with self._lock:  # whoever waits here for the same certificate finds it
            if known := self._kept.get(url):
                return known
            self._raise_known_failure(url)
            self._count_fetch()
            try:
                fetched = self._read(url, self._fetch(url))
            except (ServiceUnavailable, SignatureRefused) as failure:
                self._failures.pop(url, None)  # so that it goes to the end of those that are kept
                _keep(self._failures, url, _Failure(self._clock(), type(failure), str(failure)), MOST_FAILURES_KEPT)
                raise
            _keep(self._kept, url, fetched, MOST_KEPT)
            return fetched

    def _raise_known_failure(self, url: str) -> None:
        failure = self._failures.get(url)
        if failure and 0 <= self._clock() - failure.at < FAILURE_SECONDS:
            raise failure.kind(failure.message)

    def _count_fetch(self) -> None:
        now = self._clock()
        if len(self._fetches) == MOST_FETCHES_A_MINUTE and 0 <= now - self._fetches[0] < 60:
            raise ServiceUnavailable("too many unknown certificates were named within one minute")
        self._fetches.append(now)

    def _fetch(self, url: str) -> bytes:
        import httpx

        try:
            with (
                httpx.Client(timeout=FETCH_SECONDS, follow_redirects=False, transport=self._transport) as http,
                http.stream("GET", url, headers={"accept-encoding": "identity"}) as response,
            ):
                if response.status_code in _NOT_THERE:
                    raise SignatureRefused("PayPal has no certificate at the URL of the PAYPAL-CERT-URL header")
                if response.status_code != 200:
                    raise _unavailable(url, f"the answer is {response.status_code}")
                return self._bounded(url, response)
        except httpx.HTTPError as reason:
            raise _unavailable(url, type(reason).__name__) from reason

    def _bounded(self, url: str, response: "httpx.Response") -> bytes:
        began = self._clock()
        content = b""
        for part in response.iter_raw():  # not unpacked: a small file could fill the memory
            content += part
            if len(content) > MOST_FILE_BYTES:
                raise _unavailable(url, f"the answer has more than {MOST_FILE_BYTES} bytes")
            if self._clock() - began > FETCH_SECONDS:  # the time-out starts anew with each part
                raise _unavailable(url, "the answer does not end")
        return content

    def _read(self, url: str, content: bytes) -> MessageCertificate:
        from cryptography import x509
        from cryptography.exceptions import UnsupportedAlgorithm

        is_stand_in = bool(self.stand_in_host) and url.startswith(f"http://{self.stand_in_host}/")
        roots = _stand_in_root(self._stand_in_root_file) if is_stand_in else _digicert_roots()
        try:
            file = x509.load_pem_x509_certificates(content)
            return MessageCertificate(file, roots, chain_required=is_stand_in)
        except (ValueError, x509.InvalidVersion, x509.DuplicateExtension, UnsupportedAlgorithm) as reason:
            raise _unavailable(url, "the answer is no certificate that we can read") from reason


@cache
def process_certificates() -> CertificateStore:
    """Return the process-wide store."""
    return CertificateStore(
        stand_in_host=settings().paypal_certificate_host,
        stand_in_root_file=settings().paypal_certificate_root_file,
    )


def _keep[Kept](those: OrderedDict[str, Kept], url: str, new: Kept, most: int) -> None:
    those[url] = new
    while len(those) > most:
        those.popitem(last=False)


def _unavailable(url: str, reason: str) -> ServiceUnavailable:
    return ServiceUnavailable(f"PayPal's certificate {url} could not be fetched: {reason}")


def _names(certificate: "x509.Certificate") -> list[str]:
    from cryptography import x509

    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return extension.value.get_values_for_type(x509.DNSName)


def _key(certificate: "x509.Certificate") -> "RSAPublicKey":
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    key = certificate.public_key()
    if not isinstance(key, RSAPublicKey):
        raise ValueError("its key is not of RSA")
    return key


@cache
def _digicert_roots() -> "Store":
    """Return DigiCert's roots out of those that certifi and so Mozilla trusts; PayPal signs under no other's."""
    import certifi
    from cryptography import x509
    from cryptography.x509.verification import Store

    each_der = (base64.b64decode(encoded) for encoded in _PEM.findall(Path(certifi.where()).read_text()))
    # Only what has the name in it is parsed; the others cost time, and one of them has a serial number of zero.
    return Store([x509.load_der_x509_certificate(der) for der in each_der if b"DigiCert" in der])


@cache
def _stand_in_root(file: str) -> "Store":
    from cryptography import x509
    from cryptography.x509.verification import Store

    try:
        return Store(x509.load_pem_x509_certificates(Path(file).read_bytes()))
    except (OSError, ValueError) as reason:
        raise SettingError(f"PAYPAL_CERTIFICATE_ROOT_FILE is {file}, which holds no certificate") from reason

"""Signs webhooks as PayPal does, under certificates of an authority that nobody knows but the test."""

import base64
import binascii
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID

from gatehouse.http_request import HttpRequest, read_request

LIVE_NAME = "messageverificationcerts.paypal.com"
SANDBOX_NAME = "messageverificationcerts.sandbox.paypal.com"
LIVE_URL = "https://api.paypal.com/v1/notifications/certs/CERT-1-live"
SANDBOX_URL = "https://api.sandbox.paypal.com/v1/notifications/certs/CERT-1-sandbox"
SENT_AT = datetime(2026, 11, 20, 12, tzinfo=UTC)

type IssuerKey = ec.EllipticCurvePrivateKey


class Issued(NamedTuple):
    """A certificate and its key."""

    certificate: x509.Certificate
    key: rsa.RSAPrivateKey

    @property
    def pem(self) -> bytes:
        """The certificate as PayPal's host shows it."""
        return pem(self.certificate)


class Authority(NamedTuple):
    """A certificate authority: a root, or one below another."""

    certificate: x509.Certificate
    key: IssuerKey

    def issue(self, name: str | None = LIVE_NAME, *, key: rsa.RSAPrivateKey | None = None, days: int = 365) -> Issued:
        """Issue a certificate for a name (or none), valid from a day before SENT_AT."""
        key = key or rsa_key()
        names = x509.SubjectAlternativeName([x509.DNSName(name)]) if name else None
        return Issued(_certificate(_name(name or LIVE_NAME), key.public_key(), self, names, days), key)

    def below(self, common_name: str) -> "Authority":
        """Make an authority that this one vouches for."""
        key = ec.generate_private_key(ec.SECP256R1())
        return Authority(_certificate(_name(common_name), key.public_key(), self, None, 365), key)


def new_root(common_name: str = "Test root", organisation: str = "Test") -> Authority:
    """Make a root."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(common_name, organisation)
    return Authority(_certificate(subject, key.public_key(), (subject, key), None, 365), key)


@cache
def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    """Return a key that all tests of this process share; making one takes long."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def pem(*certificates: x509.Certificate) -> bytes:
    """Return certificates as a PEM file."""
    return b"".join(each.public_bytes(serialization.Encoding.PEM) for each in certificates)


def signed_headers(
    body: bytes,
    *,
    key: rsa.RSAPrivateKey,
    url: str,
    webhook_id: str,
    time: str = f"{SENT_AT:%Y-%m-%dT%H:%M:%SZ}",
    transmission_id: str = "0f14627d-cc41-11f0-9ad0-21cf84660aee",
) -> dict[str, str]:
    """Return PayPal's headers for a body."""
    message = f"{transmission_id}|{time}|{webhook_id}|{binascii.crc32(body)}".encode()
    signature = key.sign(message, padding.PKCS1v15(), hashes.SHA256())
    return {
        "PAYPAL-TRANSMISSION-ID": transmission_id,
        "PAYPAL-TRANSMISSION-TIME": time,
        "PAYPAL-TRANSMISSION-SIG": base64.b64encode(signature).decode(),
        "PAYPAL-CERT-URL": url,
        "PAYPAL-AUTH-ALGO": "SHA256withRSA",
        "PAYPAL-AUTH-VERSION": "v2",
    }


def request_of(headers: Mapping[str, str], body: bytes) -> HttpRequest:
    """Return the request that API Gateway makes of headers and a body."""
    encoded = base64.b64encode(body).decode()
    return read_request({"headers": dict(headers), "body": encoded, "isBase64Encoded": True}, now=SENT_AT)


def _name(common_name: str, organisation: str = "Test") -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _certificate(
    subject: x509.Name,
    key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey,
    issuer: Authority | tuple[x509.Name, IssuerKey],
    names: x509.SubjectAlternativeName | None,
    days: int,
) -> x509.Certificate:
    """Make a certificate: of an authority when it has no names."""
    issuer_name = issuer.certificate.subject if isinstance(issuer, Authority) else issuer[0]
    issuer_key = issuer.key if isinstance(issuer, Authority) else issuer[1]
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer_name)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(SENT_AT - timedelta(days=1))
        .not_valid_after(SENT_AT + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=names is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if names:
        builder = builder.add_extension(names, critical=False)
    else:
        signs_certificates = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        builder = builder.add_extension(signs_certificates, critical=True)
    return builder.sign(issuer_key, hashes.SHA256())

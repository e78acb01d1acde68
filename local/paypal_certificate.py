"""A certificate like those under which PayPal signs its webhooks, of an authority that only this machine trusts."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from gatehouse.gateways.paypal.verify import SANDBOX

VALID = timedelta(days=365)
LONGEST_RUN = timedelta(days=30)
A_SLOW_CLOCK = timedelta(hours=1)


class PaypalCertificate(NamedTuple):
    """The files of the certificate."""

    root_file: Path
    private_key_file: Path
    file: Path  # what PayPal's host would show


def paypal_certificate(folder: Path) -> PaypalCertificate:
    """Return the certificate of this folder, kept from run to run as requests may wait that were signed under it."""
    kept = PaypalCertificate(folder / "root.pem", folder / "private_key.pem", folder / "certificate.pem")
    if not all(file.exists() for file in kept) or _ends_soon(kept.file):
        _make(kept)
    return kept


def _ends_soon(file: Path) -> bool:
    return x509.load_pem_x509_certificate(file.read_bytes()).not_valid_after_utc < datetime.now(UTC) + LONGEST_RUN


def _make(wanted: PaypalCertificate) -> None:
    """Make a root and a certificate of the sandbox's name under it; the key's file is for its owner's eyes only."""
    wanted.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    root_key = ec.generate_private_key(ec.SECP256R1())
    root_name = _name("Gatehouse on this machine")
    root = _certificate(root_name, root_key.public_key(), root_name, root_key, is_root=True)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    leaf = _certificate(_name(SANDBOX.certificate_name), key.public_key(), root_name, root_key, is_root=False)

    wanted.file.unlink(missing_ok=True)  # written last again: who is interrupted here begins anew
    wanted.root_file.write_bytes(_pem(root))
    wanted.private_key_file.unlink(missing_ok=True)
    wanted.private_key_file.touch(mode=0o600)
    wanted.private_key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    wanted.file.write_bytes(_pem(leaf))


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _certificate(
    subject: x509.Name,
    key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    is_root: bool,
) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - A_SLOW_CLOCK)
        .not_valid_after(now + VALID)
        .add_extension(x509.BasicConstraints(ca=is_root, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if is_root:
        signs_certificates = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        builder = builder.add_extension(signs_certificates, critical=True)
    else:
        names = x509.SubjectAlternativeName([x509.DNSName(SANDBOX.certificate_name)])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(issuer_key, hashes.SHA256())

"""Passwords of database roles, and what a server keeps in their place (RFC 5803), so that no log shows them."""

import base64
import hashlib
import hmac
import secrets

PASSWORD_BYTES = 32
ITERATIONS = 4096  # Postgres's own; a password of 256 random bits needs none to be safe
SALT_BYTES = 16


def new_password() -> str:
    """Return 256 random bits that need no quoting anywhere."""
    return secrets.token_urlsafe(PASSWORD_BYTES)


def verifier(password: str, salt: bytes | None = None) -> str:
    """Return the SCRAM-SHA-256 verifier of an ASCII password, as CREATE ROLE … PASSWORD takes it."""
    salt = salt or secrets.token_bytes(SALT_BYTES)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    told = (base64.b64encode(each).decode() for each in (salt, stored, server))
    return "SCRAM-SHA-256${}:{}${}:{}".format(ITERATIONS, *told)

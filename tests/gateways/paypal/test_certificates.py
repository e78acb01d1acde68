"""PayPal's certificates: fetched once, kept side by side, and believed only with reason."""

import gzip
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509

from gatehouse.errors import ServiceUnavailable, SettingError, SignatureRefused
from gatehouse.gateways.paypal.certificates import (
    FAILURE_SECONDS,
    ISSUER_ORGANISATION,
    ISSUERS,
    MOST_FETCHES_A_MINUTE,
    MOST_FILE_BYTES,
    MOST_KEPT,
    CertificateStore,
    MessageCertificate,
)
from gatehouse.settings import Settings, load
from tests.support.paypal_signing import (
    LIVE_NAME,
    LIVE_URL,
    SANDBOX_NAME,
    SENT_AT,
    Authority,
    Issued,
    new_root,
    pem,
    rsa_key,
)

RECORDED = {path.stem: path for path in sorted((Path(__file__).parent / "certificates").glob("*.pem"))}
STAND_IN = "127.0.0.1:8123"
STAND_IN_URL = f"http://{STAND_IN}/v1/notifications/certs/CERT-1"
HIGH_ASSURANCE = new_root(ISSUERS[0], ISSUER_ORGANISATION)  # only by its name

pytestmark = pytest.mark.req("G2")


class Host:
    """PayPal's host: answers each URL with what was put there, and counts."""

    def __init__(self, **answers: httpx.Response | bytes | Exception) -> None:
        self.answers = {f"/v1/notifications/certs/CERT-{name}": answer for name, answer in answers.items()}
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.get(request.url.path, httpx.Response(404))
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(200, stream=httpx.ByteStream(answer)) if isinstance(answer, bytes) else answer


class Clock:
    """A clock that stands until it is told."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def url(name: str) -> str:
    return f"https://api.paypal.com/v1/notifications/certs/CERT-{name}"


def store(
    host: Callable[[httpx.Request], httpx.Response], clock: Callable[[], float] = time.time, root_file: str = ""
) -> CertificateStore:
    return CertificateStore(
        stand_in_host=STAND_IN if root_file else "",
        stand_in_root_file=root_file,
        clock=clock,
        transport=httpx.MockTransport(host),
    )


def refusal_of(file: bytes, name: str = LIVE_NAME, at: timedelta = timedelta()) -> str | None:
    return store(Host(a=file)).certificate(url("a")).refusal(name, SENT_AT + at)


def unavailable(of: CertificateStore, at: str) -> str:
    with pytest.raises(ServiceUnavailable) as raised:
        of.certificate(at)
    assert raised.value.http_status == 503
    return str(raised.value)


class TestFetch:
    def test_asks_plainly_for_exactly_this(self) -> None:
        host = Host(a=HIGH_ASSURANCE.issue().pem)
        assert isinstance(store(host).certificate(url("a")), MessageCertificate)
        (request,) = host.requests
        assert (request.method, str(request.url)) == ("GET", url("a"))
        assert request.headers["accept-encoding"] == "identity"
        assert "authorization" not in request.headers

    @pytest.mark.parametrize("status", [400, 404, 410])
    def test_paypal_has_none_there(self, status: int) -> None:
        with pytest.raises(SignatureRefused, match="PayPal has no certificate"):
            store(Host(a=httpx.Response(status))).certificate(url("a"))

    @pytest.mark.parametrize("status", [204, 206, 301, 302, 304, 307, 401, 403, 429, 500, 502, 503])
    def test_any_other_answer_is_not_the_senders_fault(self, status: int) -> None:
        host = Host(a=httpx.Response(status, headers={"location": "https://evil.test/v1/notifications/certs/CERT-1"}))
        assert f"the answer is {status}" in unavailable(store(host), url("a"))
        assert len(host.requests) == 1  # and no redirect is followed

    @pytest.mark.parametrize(
        "reason", [httpx.ConnectError, httpx.ConnectTimeout, httpx.ReadTimeout, httpx.RemoteProtocolError]
    )
    def test_no_answer(self, reason: type[httpx.TransportError]) -> None:
        assert reason.__name__ in unavailable(store(Host(a=reason("gone"))), url("a"))

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"<html>maintenance</html>",
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
            b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
            HIGH_ASSURANCE.issue().pem[:-200],
            pem(HIGH_ASSURANCE.certificate),  # a key that is not of RSA
            b"\xff\x00",
        ],
    )
    def test_no_certificate(self, content: bytes) -> None:
        assert "no certificate that we can read" in unavailable(store(Host(a=content)), url("a"))

    def test_larger_than_any_certificate(self) -> None:
        parts = 0

        def endless() -> Iterator[bytes]:
            nonlocal parts
            while True:
                parts += 1
                yield b"-" * 1024

        class Endless(httpx.SyncByteStream):
            def __iter__(self) -> Iterator[bytes]:
                return endless()

        host = Host(a=httpx.Response(200, stream=Endless()))
        assert f"more than {MOST_FILE_BYTES} bytes" in unavailable(store(host), url("a"))
        assert parts == MOST_FILE_BYTES // 1024 + 1

    def test_slower_than_any_certificate(self) -> None:
        clock = Clock()

        class Slow(httpx.SyncByteStream):
            def __iter__(self) -> Iterator[bytes]:
                while True:
                    clock.now += 1
                    yield b"-"

        assert "does not end" in unavailable(store(Host(a=httpx.Response(200, stream=Slow())), clock), url("a"))

    def test_what_was_packed_unasked_is_not_unpacked(self) -> None:
        packed = gzip.compress(b"-" * 50_000_000)
        assert len(packed) < MOST_FILE_BYTES
        answer = httpx.Response(200, headers={"content-encoding": "gzip"}, stream=httpx.ByteStream(packed))
        assert "no certificate that we can read" in unavailable(store(Host(a=answer)), url("a"))


class TestKept:
    def test_is_fetched_once(self) -> None:
        host = Host(a=HIGH_ASSURANCE.issue().pem)
        kept = store(host)
        assert kept.certificate(url("a")) is kept.certificate(url("a"))
        assert len(host.requests) == 1

    def test_old_and_new_stand_side_by_side(self) -> None:
        old, new = HIGH_ASSURANCE.issue(days=1), HIGH_ASSURANCE.issue(days=300)
        kept = store(Host(old=old.pem, new=new.pem))
        day, later = SENT_AT, SENT_AT + timedelta(days=30)
        for _ in range(2):
            assert kept.certificate(url("old")).refusal(LIVE_NAME, day) is None
            assert kept.certificate(url("new")).refusal(LIVE_NAME, day) is None
            assert kept.certificate(url("old")).refusal(LIVE_NAME, later) == "it was not valid at 2026-12-20 12:00"
            assert kept.certificate(url("new")).refusal(LIVE_NAME, later) is None

    def test_only_so_many(self) -> None:
        file = HIGH_ASSURANCE.issue().pem
        host = Host(**{str(number): file for number in range(MOST_KEPT + 1)})
        kept = store(host)
        for number in range(MOST_KEPT + 1):
            kept.certificate(url(str(number)))
        kept.certificate(url(str(MOST_KEPT)))
        assert len(host.requests) == MOST_KEPT + 1
        kept.certificate(url("0"))
        assert len(host.requests) == MOST_KEPT + 2

    @pytest.mark.parametrize("answer", [httpx.Response(404), httpx.Response(503)])
    def test_a_failure_for_a_minute(self, answer: httpx.Response) -> None:
        clock = Clock()
        host = Host(a=answer)
        kept = store(host, clock)
        messages = set()
        for _ in range(3):
            with pytest.raises((SignatureRefused, ServiceUnavailable)) as raised:
                kept.certificate(url("a"))
            messages.add((type(raised.value), str(raised.value)))
        assert (len(messages), len(host.requests)) == (1, 1)
        clock.now += FAILURE_SECONDS
        host.answers = Host(a=HIGH_ASSURANCE.issue().pem).answers
        assert kept.certificate(url("a"))

    def test_a_failure_of_one_says_nothing_of_another(self) -> None:
        kept = store(Host(a=HIGH_ASSURANCE.issue().pem, b=httpx.Response(503)))
        unavailable(kept, url("b"))
        assert kept.certificate(url("a"))

    def test_paypal_is_not_flooded_with_names_that_somebody_invents(self) -> None:
        clock = Clock()
        host = Host(real=HIGH_ASSURANCE.issue().pem)
        kept = store(host, clock)
        kept.certificate(url("real"))
        for number in range(MOST_FETCHES_A_MINUTE - 1):
            with pytest.raises(SignatureRefused):
                kept.certificate(url(f"invented-{number}"))
        assert "too many unknown certificates" in unavailable(kept, url("one-more"))
        assert len(host.requests) == MOST_FETCHES_A_MINUTE
        assert kept.certificate(url("real"))  # what is known goes on
        clock.now += 60
        with pytest.raises(SignatureRefused):
            kept.certificate(url("one-more"))

    def test_many_at_once_fetch_it_once(self) -> None:
        asked = 0
        file = HIGH_ASSURANCE.issue().pem

        def slow(_: httpx.Request) -> httpx.Response:
            nonlocal asked
            asked += 1
            time.sleep(0.05)
            return httpx.Response(200, stream=httpx.ByteStream(file))

        kept = store(slow)
        found: list[MessageCertificate] = []
        threads = [threading.Thread(target=lambda: found.append(kept.certificate(url("a")))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert asked == 1
        assert len(found) == 8
        assert len(set(map(id, found))) == 1


class TestBelief:
    @pytest.mark.parametrize("name", RECORDED)
    def test_paypals_own_while_they_were_valid(self, name: str) -> None:
        file = RECORDED[name].read_bytes()
        certificate = x509.load_pem_x509_certificate(file)
        proper = LIVE_NAME if certificate.not_valid_before_utc.year > 2020 else SANDBOX_NAME
        other = SANDBOX_NAME if proper == LIVE_NAME else LIVE_NAME
        fetched = store(Host(a=file)).certificate(url("a"))
        for at in (certificate.not_valid_before_utc, certificate.not_valid_after_utc):
            assert fetched.refusal(proper, at) is None
            assert fetched.refusal(other, at) == f"it is not for {other}"
        for at, by in ((certificate.not_valid_before_utc, -1), (certificate.not_valid_after_utc, 1)):
            assert (fetched.refusal(proper, at + timedelta(seconds=by)) or "").startswith("it was not valid at")

    def test_all_that_were_recorded(self) -> None:
        assert len(RECORDED) == 4

    @pytest.mark.parametrize("issuer", ISSUERS)
    def test_alone_by_a_known_issuer(self, issuer: str) -> None:
        assert refusal_of(new_root(issuer, ISSUER_ORGANISATION).issue().pem) is None

    @pytest.mark.parametrize(
        ("issuer", "organisation"),
        [
            ("Another", ISSUER_ORGANISATION),
            (ISSUERS[0], "Another"),
            (f"{ISSUERS[0]} ", ISSUER_ORGANISATION),
            ("", ISSUER_ORGANISATION),
        ],
    )
    def test_alone_by_anybody_else(self, issuer: str, organisation: str) -> None:
        file = new_root(issuer or "-", organisation).issue().pem
        refusal = refusal_of(file) or ""
        assert "no root that we trust; issued by CN=" in refusal
        assert organisation in refusal

    def test_a_chain_that_leads_nowhere_is_worse_than_none(self) -> None:
        issued = HIGH_ASSURANCE.issue()
        assert refusal_of(issued.pem) is None
        assert "no root that we trust" in (refusal_of(issued.pem + pem(HIGH_ASSURANCE.certificate)) or "")

    @pytest.mark.parametrize(
        "name", [SANDBOX_NAME, "api.paypal.com", "*.paypal.com", f"x.{LIVE_NAME}", f"{LIVE_NAME}.evil.test"]
    )
    def test_for_another_name(self, name: str) -> None:
        assert refusal_of(HIGH_ASSURANCE.issue(name).pem) == f"it is not for {LIVE_NAME}"

    def test_without_any_name(self) -> None:
        assert refusal_of(HIGH_ASSURANCE.issue(None).pem) == f"it is not for {LIVE_NAME}"

    @pytest.mark.parametrize(("at", "valid"), [(-25, False), (-23, True), (23, True), (25, False)])
    def test_when_it_was_sent_and_not_now(self, at: int, valid: bool) -> None:
        refusal = refusal_of(HIGH_ASSURANCE.issue(days=1).pem, at=timedelta(hours=at))
        assert (refusal is None) is valid

    def test_a_key_that_can_be_broken(self) -> None:
        assert refusal_of(HIGH_ASSURANCE.issue(key=rsa_key(1024)).pem) == "its key has 1024 bits"


@pytest.fixture
def root(tmp_path: Path) -> tuple[Authority, str]:
    """The stand-in's root and the file that holds it."""
    made = new_root()
    file = tmp_path / "root.pem"
    file.write_bytes(pem(made.certificate))
    return made, str(file)


class TestStandIn:
    def refusal(self, file: bytes, root_file: str, at: str = STAND_IN_URL) -> str | None:
        kept = store(lambda _: httpx.Response(200, stream=httpx.ByteStream(file)), root_file=root_file)
        return kept.certificate(at).refusal(LIVE_NAME, SENT_AT)

    def test_by_its_root(self, root: tuple[Authority, str]) -> None:
        authority, root_file = root
        assert self.refusal(authority.issue().pem, root_file) is None

    def test_by_a_chain_to_its_root(self, root: tuple[Authority, str]) -> None:
        authority, root_file = root
        below = authority.below("Below")
        issued = below.issue()
        assert self.refusal(issued.pem + pem(below.certificate), root_file) is None
        assert "no root that we trust" in (self.refusal(issued.pem, root_file) or "")

    def test_never_by_the_name_of_its_issuer_alone(self, root: tuple[Authority, str]) -> None:
        assert "no root that we trust" in (self.refusal(HIGH_ASSURANCE.issue().pem, root[1]) or "")

    def test_its_root_proves_nothing_of_paypals_host(self, root: tuple[Authority, str]) -> None:
        authority, root_file = root
        assert "no root that we trust" in (self.refusal(authority.issue().pem, root_file, LIVE_URL) or "")

    @pytest.mark.parametrize("content", [None, b"", b"no certificate"])
    def test_root_file_that_is_none(self, tmp_path: Path, content: bytes | None) -> None:
        file = tmp_path / "none.pem"
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(SettingError, match="PAYPAL_CERTIFICATE_ROOT_FILE"):
            self.refusal(HIGH_ASSURANCE.issue().pem, str(file))

    def test_only_in_the_local_stage(self) -> None:
        both = {"PAYPAL_CERTIFICATE_HOST": STAND_IN, "PAYPAL_CERTIFICATE_ROOT_FILE": "root.pem"}
        assert load({"STAGE": "local"} | both).paypal_certificate_host == STAND_IN
        for stage in ("dev", "staging", "prod"):
            with pytest.raises(SettingError, match="PAYPAL_CERTIFICATE_HOST is accepted only"):
                load({"STAGE": stage} | both)
        for alone in both:
            with pytest.raises(SettingError, match="needed together"):
                load({"STAGE": "local", alone: "x"})
        assert Settings().paypal_certificate_host == ""


class TestStart:
    def test_a_function_that_verified_nothing_yet_has_loaded_no_library(self) -> None:
        question = (
            "import sys, gatehouse.gateways.paypal; print({'httpx', 'cryptography', 'certifi'} & set(sys.modules))"
        )
        said = subprocess.run([sys.executable, "-c", question], capture_output=True, text=True, check=True)
        assert said.stdout == "set()\n"


class TestSigned:
    def test_by_its_key_and_no_other(self) -> None:
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.hashes import SHA256

        issued: Issued = HIGH_ASSURANCE.issue()
        certificate = store(Host(a=issued.pem)).certificate(url("a"))
        assert certificate.has_signed(issued.key.sign(b"message", PKCS1v15(), SHA256()), b"message")
        assert not certificate.has_signed(rsa_key(3072).sign(b"message", PKCS1v15(), SHA256()), b"message")
        for nonsense in (b"", b"\x00", b"\xff" * 256, b"x" * 10_000):
            assert not certificate.has_signed(nonsense, b"message")

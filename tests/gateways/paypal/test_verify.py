"""PayPal's signature: real deliveries, and one test for each way to be wrong."""

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.accounts import GatewayAccount
from gatehouse.errors import GatewayError, RequestRefused, ServiceUnavailable, SignatureRefused
from gatehouse.gateways import Verified
from gatehouse.gateways.paypal.certificates import CertificateStore
from gatehouse.gateways.paypal.verify import (
    LIVE,
    SANDBOX,
    SIMULATOR_WEBHOOK_ID,
    TOLERANCE,
    Sender,
    Transmission,
    verify,
    verify_by_postback,
)
from gatehouse.http_request import HttpRequest
from tests.support.gateway_samples import samples
from tests.support.mutation import mutations
from tests.support.paypal_signing import (
    LIVE_NAME,
    LIVE_URL,
    SANDBOX_NAME,
    SANDBOX_URL,
    SENT_AT,
    request_of,
    rsa_key,
    signed_headers,
)

HERE = Path(__file__).parent
VECTORS: dict[str, dict[str, Any]] = {
    vector["name"]: vector for vector in json.loads((HERE / "signature_vectors.json").read_text())
}
JAVA_SDK = "PayPal-Java-SDK ValidateCertTest.java"
WEBHOOK_ID = "4JH86294D6297924G"
BODY = b'{"id":"WH-1","event_type":"PAYMENT.CAPTURE.COMPLETED"}'

pytestmark = pytest.mark.req("G2")


class OneCertificate:
    """A source of two certificates, live and sandbox, with the same key; it knows what was asked of it."""

    def __init__(self, stand_in_host: str = "") -> None:
        self.stand_in_host = stand_in_host
        self.asked: list[str] = []
        self.name = ""
        self.is_stale = False

    def certificate(self, url: str) -> "OneCertificate":
        self.asked.append(url)
        self.name = LIVE_NAME if url.startswith(LIVE.origin) else SANDBOX_NAME
        return self

    def refusal(self, name: str, at: datetime) -> str | None:
        if self.is_stale:
            return "it is stale"
        return None if (name, at.tzinfo) == (self.name, UTC) else f"not {name}"

    def has_signed(self, signature: bytes, message: bytes) -> bool:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.hashes import SHA256

        try:
            rsa_key().public_key().verify(signature, message, PKCS1v15(), SHA256())
        except InvalidSignature:
            return False
        return True


def account(mode: str = "live", webhook_ids: tuple[str, ...] = (WEBHOOK_ID,)) -> GatewayAccount:
    return GatewayAccount("paypal", "default", "default", mode, webhook_ids)


def headers(body: bytes = BODY, url: str = LIVE_URL, webhook_id: str = WEBHOOK_ID, **more: str) -> dict[str, str]:
    return signed_headers(body, key=rsa_key(), url=url, webhook_id=webhook_id, **more)


def verified(sent: HttpRequest, of: GatewayAccount | None = None, now: datetime = SENT_AT) -> Verified:
    return verify(sent, of or account(), now=now, certificates=OneCertificate())


def refusal(
    said: Mapping[str, str], body: bytes = BODY, of: GatewayAccount | None = None, now: datetime = SENT_AT
) -> str:
    with pytest.raises(SignatureRefused) as refused:
        verified(request_of(said, body), of, now)
    assert refused.value.http_status == 400
    return str(refused.value)


def refused_unasked(said: Mapping[str, str], of: GatewayAccount | None = None) -> str:
    """Return why a request is refused before any certificate is fetched."""
    source = OneCertificate()
    with pytest.raises(SignatureRefused) as refused:
        verify(request_of(said, BODY), of or account("both"), now=SENT_AT, certificates=source)
    assert source.asked == []
    return str(refused.value)


class TestVectors:
    """Real deliveries under real certificates, at the time when they were sent."""

    def verified(self, name: str, **changes: Any) -> Verified:
        vector = VECTORS[name] | changes
        said = dict(vector["headers"])
        if name == JAVA_SDK:  # its URL was invented, and is not signed
            said["paypal-cert-url"] = SANDBOX_URL
        file = (HERE / "certificates" / Path(vector["cert_file"]).name).read_bytes()
        answer = httpx.Response(200, stream=httpx.ByteStream(file))
        store = CertificateStore(transport=httpx.MockTransport(lambda _: answer))
        return verify(
            request_of(said, vector["body"].encode()),
            account("test", ("another", vector["webhook_id"])),
            now=datetime.fromisoformat(said["paypal-transmission-time"]),
            certificates=store,
        )

    @pytest.mark.parametrize("name", VECTORS)
    def test_is_genuine(self, name: str) -> None:
        by_simulator = VECTORS[name]["webhook_id"] == SIMULATOR_WEBHOOK_ID
        assert self.verified(name) == Verified(0 if by_simulator else 1)

    @pytest.mark.parametrize("name", VECTORS)
    def test_is_not_with_another_body(self, name: str) -> None:
        with pytest.raises(SignatureRefused):
            self.verified(name, body=VECTORS[name]["body"] + " ")

    def test_the_url_that_a_sdk_invented_is_refused(self) -> None:
        assert "does not lead to a certificate of PayPal's" in refused_unasked(VECTORS[JAVA_SDK]["headers"])

    def test_no_vector_is_left_out(self) -> None:
        assert len(VECTORS) == 11


class TestGood:
    @pytest.mark.req("G11")
    def test_says_which_webhook_id_fits(self) -> None:
        both = account(webhook_ids=("ANOTHER", WEBHOOK_ID))
        assert verified(request_of(headers(), BODY), both) == Verified(1)

    def test_the_body_is_bytes_and_need_not_be_text(self) -> None:
        body = b"\xff\x00\xfe"
        assert verified(request_of(headers(body), body)) == Verified(0)

    @pytest.mark.parametrize("case", [str.lower, str.upper, str.title])
    def test_header_names_have_no_case(self, case: Any) -> None:
        said = {case(name): value for name, value in headers().items()}
        assert verified(request_of(said, BODY)) == Verified(0)

    def test_the_time_is_signed_as_it_stands(self) -> None:
        assert verified(request_of(headers(time="2026-11-20T11:59:59.123Z"), BODY)) == Verified(0)

    def test_as_old_as_is_tolerated(self) -> None:
        assert timedelta(days=3) < TOLERANCE
        assert verified(request_of(headers(), BODY), now=SENT_AT + TOLERANCE) == Verified(0)

    def test_a_time_ahead_of_our_clock(self) -> None:
        assert verified(request_of(headers(), BODY), now=SENT_AT - timedelta(hours=1)) == Verified(0)

    def test_an_empty_webhook_id_beside_a_good_one_is_passed_over(self) -> None:
        assert verified(request_of(headers(), BODY), account(webhook_ids=(" ", WEBHOOK_ID))) == Verified(1)


class TestWrong:
    @pytest.mark.parametrize("name", [name for name in headers() if name != "PAYPAL-AUTH-VERSION"])
    def test_header_missing_or_empty(self, name: str) -> None:
        said = headers()
        assert f"there is no {name} header" in refused_unasked({**said, name: ""})
        del said[name]
        assert f"there is no {name} header" in refused_unasked(said)

    @pytest.mark.parametrize("name", [name for name in headers() if name != "PAYPAL-AUTH-VERSION"])
    def test_header_sent_twice(self, name: str) -> None:
        # API Gateway joins equal headers with a comma
        said = headers()
        assert f"the {name} header" in refused_unasked({**said, name: f"{said[name]},{said[name]}"})

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("PAYPAL-TRANSMISSION-ID", "a|b"),
            ("PAYPAL-TRANSMISSION-ID", "a" * 101),
            ("PAYPAL-TRANSMISSION-ID", "\u0661"),
            ("PAYPAL-TRANSMISSION-TIME", "soon"),
            ("PAYPAL-TRANSMISSION-TIME", "2018-19-12T22:20:32Z"),
            ("PAYPAL-TRANSMISSION-TIME", "0000-01-01T00:00:00Z"),
            ("PAYPAL-TRANSMISSION-TIME", "2026-11-20T12:00:00"),
            ("PAYPAL-TRANSMISSION-TIME", "2026-11-20T12:00:00+14:00"),
            ("PAYPAL-TRANSMISSION-TIME", "\u0662026-11-20T12:00:00Z"),
            ("PAYPAL-TRANSMISSION-SIG", "!!!!"),
            ("PAYPAL-TRANSMISSION-SIG", "===="),
            ("PAYPAL-TRANSMISSION-SIG", "A" * 2000),
            ("PAYPAL-TRANSMISSION-SIG", "gr\u00fc\u00dfe"),
            ("PAYPAL-TRANSMISSION-SIG", "\ud800"),
            ("PAYPAL-AUTH-ALGO", "SHA1withRSA"),
            ("PAYPAL-AUTH-ALGO", "none"),
            ("PAYPAL-AUTH-ALGO", "sha256withrsa"),
        ],
    )
    def test_header_malformed(self, name: str, value: str) -> None:
        assert f"the {name} header" in refused_unasked({**headers(), name: value})

    def test_truncated_signature(self) -> None:
        said = headers()
        signature = said["PAYPAL-TRANSMISSION-SIG"]
        for length in (1, 2, 3, 5, 341, 342, 343):
            assert refusal({**said, "PAYPAL-TRANSMISSION-SIG": signature[:length]})
        assert "no signature matches" in refusal({**said, "PAYPAL-TRANSMISSION-SIG": signature[:340]})

    def test_signature_of_another_key(self) -> None:
        said = signed_headers(BODY, key=rsa_key(3072), url=LIVE_URL, webhook_id=WEBHOOK_ID)
        assert "no signature matches" in refusal(said)

    def test_other_webhook_id(self) -> None:
        assert "no signature matches" in refusal(headers(webhook_id="ANOTHER"))

    @pytest.mark.parametrize("body", [BODY + b"\n", BODY[:-1], b"", b" " + BODY])
    def test_other_body(self, body: bytes) -> None:
        assert "no signature matches" in refusal(headers(), body)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("PAYPAL-TRANSMISSION-ID", "0f14627d-cc41-11f0-9ad0-21cf84660aef"),
            ("PAYPAL-TRANSMISSION-TIME", "2026-11-20T12:00:01Z"),
        ],
    )
    def test_other_transmission(self, name: str, value: str) -> None:
        assert "no signature matches" in refusal({**headers(), name: value})

    def test_replayed_too_late(self) -> None:
        late = SENT_AT + TOLERANCE + timedelta(seconds=1)
        assert "more than 4 days ago" in refusal(headers(), now=late)

    @pytest.mark.parametrize("webhook_ids", [(), ("",), ("", " "), (SIMULATOR_WEBHOOK_ID,)])
    def test_no_webhook_id_but_signed_for_the_empty_one(self, webhook_ids: tuple[str, ...]) -> None:
        for signed_for in ("", " ", SIMULATOR_WEBHOOK_ID):
            said = headers(webhook_id=signed_for)
            assert "no webhook id is configured" in refused_unasked(said, account("live", webhook_ids))


class TestCertificateUrl:
    """Nothing is fetched from where PayPal's certificates are not."""

    @pytest.mark.parametrize(
        "url",
        [
            "https://evil.test/v1/notifications/certs/CERT-1",
            "http://api.paypal.com/v1/notifications/certs/CERT-1",
            "HTTPS://API.PAYPAL.COM/v1/notifications/certs/CERT-1",
            "https://api.paypal.com.evil.test/v1/notifications/certs/CERT-1",
            "https://evil-api.paypal.com/v1/notifications/certs/CERT-1",
            "https://api.paypal.com@evil.test/v1/notifications/certs/CERT-1",
            "https://api.paypal.com:pass@evil.test/v1/notifications/certs/CERT-1",
            "https://evil@api.paypal.com/v1/notifications/certs/CERT-1",
            "https://api.paypal.com:443/v1/notifications/certs/CERT-1",
            "https://api.paypal.com:8443/v1/notifications/certs/CERT-1",
            "https://api.paypal.com./v1/notifications/certs/CERT-1",
            "https://api.paypal.com\\@evil.test/v1/notifications/certs/CERT-1",
            "https://api.paypal.com//v1/notifications/certs/CERT-1",
            "https://api.paypal.com/v2/notifications/certs/CERT-1",
            "https://api.paypal.com/v1/notifications/certs/",
            "https://api.paypal.com/v1/notifications/certs/CERT-",
            "https://api.paypal.com/v1/notifications/certs/OTHER-1",
            "https://api.paypal.com/v1/notifications/certs/CERT-1/../../../x",
            "https://api.paypal.com/v1/notifications/certs/CERT-1%2f..%2fx",
            "https://api.paypal.com/v1/notifications/certs/CERT-1?x=1",
            "https://api.paypal.com/v1/notifications/certs/CERT-1#x",
            "https://api.paypal.com/v1/notifications/certs/CERT-1\n",
            "https://api.paypal.com/v1/notifications/certs/CERT-1 ",
            " https://api.paypal.com/v1/notifications/certs/CERT-1",
            "https://api.paypal.com/v1/notifications/certs/CERT-\u0661",
            "https://api.paypal.com/v1/notifications/certs/CERT-" + "1" * 200,
            "//api.paypal.com/v1/notifications/certs/CERT-1",
            "api.paypal.com/v1/notifications/certs/CERT-1",
            "file:///v1/notifications/certs/CERT-1",
            "https://\u0430pi.paypal.com/v1/notifications/certs/CERT-1",
            "http:///v1/notifications/certs/CERT-1",
        ],
    )
    def test_elsewhere(self, url: str) -> None:
        said = headers(url=url)
        assert "does not lead to a certificate of PayPal's" in refused_unasked(said)

    def test_a_stand_in_is_one_exact_host_and_counts_as_the_sandbox(self) -> None:
        source = OneCertificate(stand_in_host="127.0.0.1:8123")
        url = "http://127.0.0.1:8123/v1/notifications/certs/CERT-1"
        sent = request_of(headers(url=url), BODY)
        assert verify(sent, account("test"), now=SENT_AT, certificates=source) == Verified(0)
        assert source.asked == [url]
        for other in ("http://127.0.0.1:81234", "http://127.0.0.1:8123.evil.test", "https://127.0.0.1:8123"):
            sent = request_of(headers(url=f"{other}/v1/notifications/certs/CERT-1"), BODY)
            with pytest.raises(SignatureRefused, match="does not lead"):
                verify(sent, account("test"), now=SENT_AT, certificates=source)
        with pytest.raises(SignatureRefused, match="it is of sandbox PayPal, and this is a live account"):
            verify(request_of(headers(url=url), BODY), account("live"), now=SENT_AT, certificates=source)


@pytest.mark.req("G15")
class TestModes:
    @pytest.mark.parametrize(("mode", "url"), [("live", LIVE_URL), ("test", SANDBOX_URL), ("both", LIVE_URL)])
    def test_of_its_own_paypal(self, mode: str, url: str) -> None:
        assert verified(request_of(headers(url=url), BODY), account(mode)) == Verified(0)

    def test_both_believes_the_sandbox_too(self) -> None:
        assert verified(request_of(headers(url=SANDBOX_URL), BODY), account("both")) == Verified(0)

    def test_the_sandbox_at_a_live_account(self) -> None:
        said = headers(url=SANDBOX_URL)
        assert "it is of sandbox PayPal, and this is a live account" in refused_unasked(said, account("live"))

    def test_live_money_at_a_test_account(self) -> None:
        assert "it is of live PayPal, and this is a test account" in refusal(headers(), of=account("test"))

    @pytest.mark.parametrize("mode", ["test", "both"])
    @pytest.mark.parametrize("webhook_ids", [(), (WEBHOOK_ID,), ("ANOTHER", SIMULATOR_WEBHOOK_ID)])
    def test_the_simulator_where_no_real_money_is(self, mode: str, webhook_ids: tuple[str, ...]) -> None:
        said = headers(webhook_id=SIMULATOR_WEBHOOK_ID)
        assert verified(request_of(said, BODY), account(mode, webhook_ids)) == Verified(0)

    @pytest.mark.parametrize("webhook_ids", [(WEBHOOK_ID,), (SIMULATOR_WEBHOOK_ID, WEBHOOK_ID)])
    def test_the_simulator_at_a_live_account(self, webhook_ids: tuple[str, ...]) -> None:
        said = headers(webhook_id=SIMULATOR_WEBHOOK_ID)
        assert "no signature matches" in refusal(said, of=account("live", webhook_ids))


class TestCertificate:
    def test_that_is_not_believed(self) -> None:
        source = OneCertificate()
        source.is_stale = True
        with pytest.raises(SignatureRefused, match="does not prove that PayPal signed: it is stale"):
            verify(request_of(headers(), BODY), account(), now=SENT_AT, certificates=source)

    def test_that_cannot_be_fetched_is_not_the_senders_fault(self) -> None:
        store = CertificateStore(transport=httpx.MockTransport(lambda _: httpx.Response(500)))
        with pytest.raises(ServiceUnavailable) as raised:
            verify(request_of(headers(), BODY), account(), now=SENT_AT, certificates=store)
        assert raised.value.http_status == 503


class PaypalsWord:
    """A PayPal that says whether it signed."""

    def __init__(self, signed_for: str | Exception) -> None:
        self.signed_for = signed_for
        self.asked: list[tuple[Sender, str]] = []
        self.sender = LIVE

    def __call__(self, sender: Sender) -> "PaypalsWord":
        self.sender = sender
        return self

    def has_signed(self, transmission: Transmission, webhook_id: str, body: bytes) -> bool:
        assert (transmission.sender, body) == (self.sender, BODY)
        self.asked.append((self.sender, webhook_id))
        if isinstance(self.signed_for, Exception):
            raise self.signed_for
        return webhook_id == self.signed_for


class TestPostback:
    def test_asks_for_each_webhook_id(self) -> None:
        word = PaypalsWord(WEBHOOK_ID)
        of = account("live", ("ANOTHER", "", WEBHOOK_ID, "THIRD"))
        assert verify_by_postback(request_of(headers(), BODY), of, now=SENT_AT, postback=word) == Verified(2)
        assert word.asked == [(LIVE, "ANOTHER"), (LIVE, WEBHOOK_ID)]

    def test_asks_the_sandbox_about_what_the_sandbox_sent(self) -> None:
        word = PaypalsWord(WEBHOOK_ID)
        sent = request_of(headers(url=SANDBOX_URL), BODY)
        assert verify_by_postback(sent, account("test"), now=SENT_AT, postback=word) == Verified(0)
        assert word.asked == [(SANDBOX, WEBHOOK_ID)]

    def test_no_answer_is_not_the_senders_fault(self) -> None:
        for helps in (True, False):
            word = PaypalsWord(GatewayError("no answer", retry_helps=helps))
            with pytest.raises(ServiceUnavailable) as raised:
                verify_by_postback(request_of(headers(), BODY), account(), now=SENT_AT, postback=word)
            assert raised.value.http_status == 503

    def test_not_signed(self) -> None:
        with pytest.raises(SignatureRefused, match="no signature matches"):
            verify_by_postback(request_of(headers(), BODY), account(), now=SENT_AT, postback=PaypalsWord("ANOTHER"))

    @pytest.mark.parametrize(
        ("said", "mode"),
        [
            ({}, "live"),
            (headers(url="https://evil.test/v1/notifications/certs/CERT-1"), "live"),
            (headers(url=SANDBOX_URL), "live"),
            (headers(), "test"),
            (headers(time="2026-11-01T00:00:00Z"), "live"),
        ],
    )
    def test_nobody_is_asked_about_what_cannot_be(self, said: dict[str, str], mode: str) -> None:
        word = PaypalsWord(WEBHOOK_ID)
        with pytest.raises(SignatureRefused):
            verify_by_postback(request_of(said, BODY), account(mode), now=SENT_AT, postback=word)
        assert word.asked == []


class TestHostile:
    @given(
        said=st.dictionaries(st.sampled_from([name.lower() for name in headers()]), st.text(max_size=200)),
        body=st.binary(max_size=200),
    )
    def test_nothing_but_a_refusal_comes_of_a_stranger(self, said: dict[str, str], body: bytes) -> None:
        refusal(said, body, account("both"))

    @given(
        changed=st.dictionaries(
            st.sampled_from([name for name in headers() if name != "PAYPAL-AUTH-VERSION"]),
            st.text(max_size=300) | st.from_regex(r"[A-Za-z0-9+/=:.-]{0,400}"),
            min_size=1,
        )
    )
    def test_a_good_request_with_changed_headers(self, changed: dict[str, str]) -> None:
        good = headers()
        if changed.items() <= good.items():
            return
        refusal({**good, **changed})

    @pytest.mark.parametrize("sample", samples("paypal").values(), ids=lambda path: path.stem)
    def test_a_damaged_sample_under_the_signature_of_the_whole_one(self, sample: Path) -> None:
        whole = sample.read_bytes()
        said = headers(whole)
        for body in mutations(whole, seed=sample.name, count=200):
            if body != whole:
                assert "no signature matches" in refusal(said, body)

    @given(body=st.binary(min_size=1, max_size=300), flipped=st.integers(0))
    def test_what_is_signed_verifies_and_any_changed_bit_does_not(self, body: bytes, flipped: int) -> None:
        said = headers(body)
        assert verified(request_of(said, body)) == Verified(0)
        changed = bytearray(body)
        bit = flipped % (len(body) * 8)
        changed[bit // 8] ^= 1 << bit % 8
        assert "no signature matches" in refusal(said, bytes(changed))

    @given(st.integers(0, 2047))
    def test_any_changed_bit_of_the_signature(self, bit: int) -> None:
        said = headers()
        signature = bytearray(base64.b64decode(said["PAYPAL-TRANSMISSION-SIG"]))
        signature[bit // 8] ^= 1 << bit % 8
        said["PAYPAL-TRANSMISSION-SIG"] = base64.b64encode(signature).decode()
        assert "no signature matches" in refusal(said)


def test_a_refusal_is_a_refused_request() -> None:
    assert issubclass(SignatureRefused, RequestRefused)

"""AWS without boto3: signatures like botocore's, calls to a real stand-in, and every way a connection can fail."""

import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import SigV4Auth  # type: ignore[import-untyped]  # it has no types
from botocore.awsrequest import AWSRequest  # type: ignore[import-untyped]  # it has no types
from botocore.credentials import Credentials  # type: ignore[import-untyped]  # it has no types
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from gatehouse.aws import AwsClient, ContainerCredentials, signed
from gatehouse.errors import AwsError
from gatehouse.settings import AwsCredentials
from local.moto_server import MotoServer
from local.postgres import free_port
from tests.support.scripted_server import ScriptedServer, answering, nobody_listening, response

KEYS = AwsCredentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "token/with+signs==")
SEND = {"QueueUrl": "http://sqs/123/q", "MessageBody": "42"}


SqsAt = Callable[[str | None], AwsClient]


@pytest.fixture
def sqs_at() -> Iterator[SqsAt]:
    """Return a function that makes a client for an address; all hang up at the end."""
    made: list[AwsClient] = []

    def make(endpoint_url: str | None) -> AwsClient:
        made.append(AwsClient("sqs", region="eu-west-1", endpoint_url=endpoint_url, credentials=lambda: KEYS))
        return made[-1]

    yield make
    for client in made:
        client.close()


def failure(client: AwsClient, timeout_seconds: float = 2.0) -> AwsError:
    with pytest.raises(AwsError) as raised:
        client.call("SendMessage", SEND, timeout_seconds=timeout_seconds)
    assert KEYS.secret_access_key not in str(raised.value)
    return raised.value


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    server = MotoServer(free_port())
    server.launch()
    server.wait_until_ready()
    yield server.endpoint
    server.stop()


def self_signed(folder: Path, name: str) -> Path:
    """Write a certificate and its key, signed by itself, into one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(name))]), critical=False)
        .sign(key, SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file = folder / "self-signed.pem"
    file.write_bytes(certificate.public_bytes(Encoding.PEM) + private)
    return file


class TestSignature:
    @settings(deadline=None, derandomize=True, max_examples=100, database=None)
    @given(
        body=st.binary(max_size=200),
        action=st.from_regex(r"[A-Z][A-Za-z]{1,30}", fullmatch=True),
        service=st.sampled_from(["sqs", "secretsmanager"]),
        region=st.sampled_from(["us-east-1", "eu-central-1"]),
        token=st.sampled_from(["", KEYS.session_token]),
    )
    def test_is_botocores(self, body: bytes, action: str, service: str, region: str, token: str) -> None:
        keys = KEYS._replace(session_token=token)
        host = f"{service}.{region}.amazonaws.com"
        headers = {"content-type": "application/x-amz-json-1.0", "host": host, "x-amz-target": f"AmazonSQS.{action}"}

        theirs = AWSRequest("POST", f"https://{host}/", headers=dict(headers), data=body)
        secret = Credentials(keys.access_key_id, keys.secret_access_key, keys.session_token or None)
        SigV4Auth(secret, service, region).add_auth(theirs)
        at = datetime.strptime(theirs.headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)

        ours = signed(headers, body, path="/", region=region, service=service, credentials=keys, now=at)
        assert ours["authorization"] == theirs.headers["Authorization"]


class TestAgainstMoto:
    def test_a_message_is_sent(self, sqs_at: SqsAt, moto: str) -> None:
        client = sqs_at(moto)
        url = client.call("CreateQueue", {"QueueName": "bells"}, timeout_seconds=10)["QueueUrl"]
        sent = client.call("SendMessage", {"QueueUrl": url, "MessageBody": "grüße"}, timeout_seconds=10)
        received = client.call("ReceiveMessage", {"QueueUrl": url}, timeout_seconds=10)
        assert [(m["MessageId"], m["Body"]) for m in received["Messages"]] == [(sent["MessageId"], "grüße")]

    def test_an_answer_without_content_is_empty(self, sqs_at: SqsAt, moto: str) -> None:
        client = sqs_at(moto)
        url = client.call("CreateQueue", {"QueueName": "emptied"}, timeout_seconds=10)["QueueUrl"]
        assert client.call("PurgeQueue", {"QueueUrl": url}, timeout_seconds=10) == {}

    def test_a_queue_that_is_not_there(self, sqs_at: SqsAt, moto: str) -> None:
        client = sqs_at(moto)
        with pytest.raises(AwsError) as raised:
            client.call("SendMessage", {"QueueUrl": f"{moto}/123/none", "MessageBody": "x"}, timeout_seconds=10)
        assert "NonExistentQueue" in raised.value.code or "QueueDoesNotExist" in raised.value.code
        assert raised.value.retry_helps is False


class TestAnswers:
    def test_speaks_the_protocol_of_its_service(self, sqs_at: SqsAt) -> None:
        with ScriptedServer(answering(b'{"MessageId": "1"}')) as server:
            assert sqs_at(server.url).call("SendMessage", SEND, timeout_seconds=2) == {"MessageId": "1"}
        head, _, body = server.requests[0].partition(b"\r\n\r\n")
        lines = head.decode().lower().split("\r\n")
        assert lines[0] == "post / http/1.1"
        assert "x-amz-target: amazonsqs.sendmessage" in lines
        assert "content-type: application/x-amz-json-1.0" in lines
        assert f"host: {server.url.removeprefix('http://')}" in lines
        assert json.loads(body) == SEND

    def test_aws_itself_where_no_stand_in_is_set(self, sqs_at: SqsAt) -> None:
        client = sqs_at(None)
        assert client._endpoint.geturl() == "https://sqs.eu-west-1.amazonaws.com"

    @pytest.mark.parametrize(
        ("status", "body", "code", "retry_helps"),
        [
            ("400 Bad", b'{"__type": "com.amazonaws.sqs#QueueDoesNotExist"}', "QueueDoesNotExist", False),
            ("400 Bad", b'{"__type": "ThrottlingException", "message": "slow"}', "ThrottlingException", True),
            ("403 Forbidden", b'{"__type": "AccessDeniedException", "Message": "no"}', "AccessDeniedException", False),
            ("429 Slow", b"{}", "HTTP_429", True),
            ("500 Oops", b'{"__type": "InternalFailure"}', "InternalFailure", True),
            ("503 Away", b"<html>", "HTTP_503", True),
            ("503 Away", b"[]", "HTTP_503", True),
            ("301 Moved", b"", "HTTP_301", False),
        ],
    )
    def test_a_refusal(self, sqs_at: SqsAt, status: str, body: bytes, code: str, retry_helps: bool) -> None:
        with ScriptedServer(answering(body, status=status)) as server:
            refused = failure(sqs_at(server.url))
        assert (refused.code, refused.retry_helps) == (code, retry_helps)

    @pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"MessageId', b"\xff"])
    def test_an_answer_that_is_no_object(self, sqs_at: SqsAt, body: bytes) -> None:
        with ScriptedServer(answering(body)) as server:
            assert failure(sqs_at(server.url)).code == "NOT_JSON"


class TestConnection:
    def test_is_kept(self, sqs_at: SqsAt) -> None:
        with ScriptedServer(answering(b"{}", b"{}", b"{}")) as server:
            client = sqs_at(server.url)
            for _ in range(3):
                client.call("SendMessage", SEND, timeout_seconds=2)
        assert server.connections == 1

    def test_kept_and_closed_by_aws_is_made_anew(self, sqs_at: SqsAt) -> None:
        with ScriptedServer(answering(b"{}"), answering(b'{"MessageId": "2"}')) as server:
            client = sqs_at(server.url)
            client.call("SendMessage", SEND, timeout_seconds=2)
            assert client.call("SendMessage", SEND, timeout_seconds=2) == {"MessageId": "2"}
        assert server.connections == 2

    def test_closed_after_its_answer_is_made_anew_without_a_stumble(self, sqs_at: SqsAt) -> None:
        def last_words(connection: socket.socket, server: ScriptedServer) -> None:
            server.read_request(connection)
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")

        with ScriptedServer(last_words, answering(b"{}")) as server:
            client = sqs_at(server.url)
            client.call("SendMessage", SEND, timeout_seconds=2)
            client.call("SendMessage", SEND, timeout_seconds=2)
        assert len(server.requests) == 2

    def test_new_and_closed_is_not_tried_again(self, sqs_at: SqsAt) -> None:
        def hang_up(connection: socket.socket, server: ScriptedServer) -> None:
            server.read_request(connection)

        with ScriptedServer(hang_up, answering(b"{}")) as server:
            assert failure(sqs_at(server.url)).code == "UNREACHABLE"
            assert server.connections == 1

    def test_cut_in_the_middle_of_an_answer_is_not_tried_again(self, sqs_at: SqsAt) -> None:
        def cut(connection: socket.socket, server: ScriptedServer) -> None:
            server.read_request(connection)
            connection.sendall(response(b"{}"))
            server.read_request(connection)
            connection.sendall(response(b'{"MessageId": "2"}')[:-5])

        with ScriptedServer(cut, answering(b"{}")) as server:
            client = sqs_at(server.url)
            client.call("SendMessage", SEND, timeout_seconds=2)
            assert failure(client).code == "UNREACHABLE"
            assert server.connections == 1

    def test_a_failure_leaves_the_client_usable(self, sqs_at: SqsAt) -> None:
        def nonsense(connection: socket.socket, server: ScriptedServer) -> None:
            server.read_request(connection)
            connection.sendall(b"nonsense\r\n\r\n")

        with ScriptedServer(nonsense, answering(b"{}")) as server:
            client = sqs_at(server.url)
            assert failure(client).code == "UNREACHABLE"
            assert client.call("SendMessage", SEND, timeout_seconds=2) == {}

    def test_nobody_listens(self, sqs_at: SqsAt) -> None:
        with nobody_listening() as url:
            refused = failure(sqs_at(url))
        assert (refused.code, refused.retry_helps) == ("UNREACHABLE", True)

    def test_a_certificate_that_nobody_vouches_for(self, sqs_at: SqsAt, tmp_path: Path) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self_signed(tmp_path, "127.0.0.1"))

        def greet(connection: socket.socket, server: ScriptedServer) -> None:
            with context.wrap_socket(connection, server_side=True) as encrypted:
                server.read_request(encrypted)

        with ScriptedServer(greet) as server:
            refused = failure(sqs_at(server.url.replace("http://", "https://")))
        assert "certificate verify failed" in str(refused)
        assert server.requests == []

    def test_no_answer_in_time(self, sqs_at: SqsAt) -> None:
        def silence(connection: socket.socket, server: ScriptedServer) -> None:
            server.read_request(connection)
            server.wait(10)

        with ScriptedServer(silence, answering(b"{}")) as server:
            client = sqs_at(server.url)
            began = time.monotonic()
            late = failure(client, timeout_seconds=0.15)
            assert time.monotonic() - began < 5
            assert (late.code, late.retry_helps) == ("TIMEOUT", True)

    def test_no_time_at_all(self, sqs_at: SqsAt) -> None:
        assert failure(sqs_at("http://127.0.0.1:9"), timeout_seconds=0).code == "TIMEOUT"


class TestCredentials:
    def test_do_not_show(self) -> None:
        assert repr(KEYS) == str(KEYS) == "<AwsCredentials>"

    def test_of_a_restored_snapshot_are_fetched_and_renewed_before_they_expire(self) -> None:
        restored = datetime(2026, 11, 20, 12, tzinfo=UTC)
        clock = restored.timestamp()

        def keys(name: str, hours: int) -> bytes:
            expiration = (restored + timedelta(hours=hours)).isoformat()
            said = {"AccessKeyId": name, "SecretAccessKey": "s", "Token": "t", "Expiration": expiration}
            return json.dumps(said).encode()

        with ScriptedServer(answering(keys("first", 1)), answering(keys("second", 2))) as server:
            container = ContainerCredentials(f"{server.url}/v1/credentials", "a token", clock=lambda: clock)
            assert container.get() == AwsCredentials("first", "s", "t")
            clock += 54 * 60
            assert container.get().access_key_id == "first"
            clock += 2 * 60
            assert container.get().access_key_id == "second"
        assert server.requests[0].startswith(b"GET /v1/credentials HTTP/1.1")
        assert b"authorization: a token" in server.requests[0]

    @pytest.mark.parametrize("said", [b"", b"[]", b"{}", b'{"AccessKeyId": "a", "SecretAccessKey": "planted"}'])
    def test_of_a_restored_snapshot_that_make_no_sense(self, said: bytes) -> None:
        with ScriptedServer(answering(said)) as server, pytest.raises(AwsError) as raised:
            ContainerCredentials(server.url, "a token").get()
        assert raised.value.code == "NO_CREDENTIALS"
        assert "planted" not in str(raised.value)


def test_an_unknown_service_is_a_mistake_of_ours() -> None:
    arguments: dict[str, Any] = {"region": "eu-west-1", "endpoint_url": None, "credentials": lambda: KEYS}
    with pytest.raises(KeyError):
        AwsClient("dynamodb", **arguments)

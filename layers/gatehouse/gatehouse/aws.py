"""Calls AWS's JSON services (SQS, Secrets Manager) with nothing but the standard library.

boto3 costs 136 to 183 ms of a cold start; Signature Version 4 over http.client costs 15. The webhook path sends one
message and reads one secret, so that is all that is here: POST, JSON in, JSON out, one kept connection.

    sqs = AwsClient("sqs", region="eu-west-1", endpoint_url=None, credentials=credentials)
    sqs.call("SendMessage", {"QueueUrl": url, "MessageBody": "42"}, timeout_seconds=0.15)
"""

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from gatehouse.errors import AwsError, SettingError
from gatehouse.settings import AwsCredentials, aws_container_authorization, aws_credentials, settings

if TYPE_CHECKING:
    from http.client import HTTPConnection, HTTPResponse


class Protocol(NamedTuple):
    """How one service names its actions."""

    target_prefix: str
    json_version: str


PROTOCOLS = {
    "sqs": Protocol("AmazonSQS", "1.0"),
    "secretsmanager": Protocol("secretsmanager", "1.1"),
}

RENEWED_BEFORE_EXPIRY_SECONDS = 300

# What AWS says when the same call may well succeed a moment later, whatever the HTTP status.
RETRYABLE_CODES = frozenset(
    {
        "InternalFailure",
        "InternalServiceError",
        "RequestThrottled",
        "RequestTimeout",
        "ServiceUnavailable",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)


class AwsClient:
    """One AWS service over one kept connection; calls from several threads take turns."""

    def __init__(
        self,
        service: str,
        *,
        region: str,
        endpoint_url: str | None,
        credentials: Callable[[], AwsCredentials],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.service = service
        self.region = region
        self._protocol = PROTOCOLS[service]
        self._endpoint = urlsplit(endpoint_url or f"https://{service}.{region}.amazonaws.com")
        self._credentials = credentials
        self._now = now
        self._connection: HTTPConnection | None = None
        self._turn = threading.Lock()

    def call(self, action: str, parameters: Mapping[str, Any], *, timeout_seconds: float) -> dict[str, Any]:
        """Call one action and return its answer; raise AwsError when AWS refuses or does not answer in time."""
        body = json.dumps(parameters).encode()
        headers = self._headers(action, body)
        with self._turn:
            status, answer = self._send(action, body, headers, time.monotonic() + timeout_seconds)
        if status != 200:
            raise _refusal(action, status, answer)
        return _json_object(action, answer)

    def close(self) -> None:
        """Hang up; the next call connects again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _headers(self, action: str, body: bytes) -> dict[str, str]:
        headers = {
            "content-type": f"application/x-amz-json-{self._protocol.json_version}",
            "host": self._endpoint.netloc,
            "x-amz-target": f"{self._protocol.target_prefix}.{action}",
        }
        return signed(
            headers,
            body,
            path=self._endpoint.path or "/",
            region=self.region,
            service=self.service,
            credentials=self._credentials(),
            now=self._now(),
        )

    def _send(self, action: str, body: bytes, headers: dict[str, str], deadline: float) -> tuple[int, bytes]:
        """Send and read the answer; once more when a kept connection turns out to have been closed by AWS."""
        from http.client import HTTPException, RemoteDisconnected

        kept = self._connection is not None
        try:
            try:
                response = self._exchange(body, headers, deadline)
            except (RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                # AWS closes idle connections, and a frozen Lambda sees it only now. Nothing came back, so the call is
                # sent again. It may have been carried out: reading a secret or ringing a bell twice does no harm.
                if not kept:
                    raise
                self.close()
                response = self._exchange(body, headers, deadline)
            answer = response.status, response.read()
        except TimeoutError as reason:
            self.close()
            raise AwsError("TIMEOUT", f"{self.service} {action}: no answer in time", retry_helps=True) from reason
        except (OSError, HTTPException) as reason:
            self.close()
            message = f"{self.service} {action}: {type(reason).__name__}: {reason}"
            raise AwsError("UNREACHABLE", message, retry_helps=True) from reason
        if response.will_close:
            self.close()
        return answer

    def _exchange(self, body: bytes, headers: dict[str, str], deadline: float) -> "HTTPResponse":
        """Connect where needed, send, and wait for the first line; each step may take what is left of the time."""
        if self._connection is None:
            self._connection = self._connect(_left(deadline))
            self._connection.connect()  # name resolution is not bounded by the time-out; the resolver has its own
        sock = self._connection.sock
        sock.settimeout(_left(deadline))
        self._connection.request("POST", self._endpoint.path or "/", body, headers)
        sock.settimeout(_left(deadline))
        return self._connection.getresponse()

    def _connect(self, timeout_seconds: float) -> "HTTPConnection":
        from http.client import HTTPConnection, HTTPSConnection

        from gatehouse.tls import trusting

        host = self._endpoint.hostname or ""
        if self._endpoint.scheme == "http":  # the local stand-in
            return HTTPConnection(host, self._endpoint.port, timeout=timeout_seconds)
        return HTTPSConnection(host, self._endpoint.port, timeout=timeout_seconds, context=trusting())


class ContainerCredentials:
    """The keys of a function that SnapStart restored; those in its environment would be as old as the snapshot."""

    def __init__(self, url: str, authorization: str, *, clock: Callable[[], float] = time.time) -> None:
        self._address = urlsplit(url)
        self._authorization = authorization
        self._clock = clock
        self._fetched: AwsCredentials | None = None
        self._renew_at = 0.0

    def get(self) -> AwsCredentials:
        """Return the keys, fetched again some minutes before they expire."""
        if self._fetched is None or self._clock() >= self._renew_at:
            self._fetched, expires_at = self._fetch()
            self._renew_at = expires_at - RENEWED_BEFORE_EXPIRY_SECONDS
        return self._fetched

    def _fetch(self) -> tuple[AwsCredentials, float]:
        from http.client import HTTPConnection, HTTPException

        connection = HTTPConnection(self._address.hostname or "", self._address.port, timeout=1)
        try:
            connection.request("GET", self._address.path, headers={"authorization": self._authorization})
            said = json.loads(connection.getresponse().read())
            keys = AwsCredentials(said["AccessKeyId"], said["SecretAccessKey"], said["Token"])
            return keys, datetime.fromisoformat(said["Expiration"]).timestamp()
        except (OSError, HTTPException, ValueError, KeyError, TypeError) as reason:
            message = f"Lambda gives no credentials: {type(reason).__name__}"
            raise AwsError("NO_CREDENTIALS", message, retry_helps=True) from None
        finally:
            connection.close()


def credentials() -> AwsCredentials:
    """Return the process's keys: from the environment, or in a restored snapshot from Lambda's own endpoint."""
    return aws_credentials() or _container_credentials().get()


@cache
def _container_credentials() -> ContainerCredentials:
    url = settings().aws_container_credentials_full_uri
    if not url:
        raise SettingError("there are no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    return ContainerCredentials(url, aws_container_authorization())


def signed(
    headers: Mapping[str, str],
    body: bytes,
    *,
    path: str,
    region: str,
    service: str,
    credentials: AwsCredentials,
    now: datetime,
) -> dict[str, str]:
    """Return the headers with those of Signature Version 4 for a POST without a query.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html
    """
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    all_headers = {**headers, "x-amz-date": stamp}
    if credentials.session_token:
        all_headers["x-amz-security-token"] = credentials.session_token
    names = ";".join(sorted(all_headers))
    lines = "".join(f"{name}:{all_headers[name]}\n" for name in sorted(all_headers))
    canonical = f"POST\n{path}\n\n{lines}\n{names}\n{hashlib.sha256(body).hexdigest()}"
    to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"

    key = b"AWS4" + credentials.secret_access_key.encode()
    for part in (*scope.split("/"), to_sign):
        key = hmac.digest(key, part.encode(), "sha256")
    all_headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credentials.access_key_id}/{scope}, SignedHeaders={names}, Signature={key.hex()}"
    )
    return all_headers


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _refusal(action: str, status: int, answer: bytes) -> AwsError:
    try:
        said = json.loads(answer)
    except ValueError:
        said = None
    said = said if isinstance(said, dict) else {}
    code = str(said.get("__type") or f"HTTP_{status}").rpartition("#")[2]
    message = said.get("message") or said.get("Message") or "no reason given"
    retry_helps = status >= 500 or status == 429 or code in RETRYABLE_CODES
    return AwsError(code, f"{action}: {code}: {message}", retry_helps=retry_helps)


def _json_object(action: str, answer: bytes) -> dict[str, Any]:
    try:
        said = json.loads(answer or b"{}")
    except ValueError as reason:
        raise AwsError("NOT_JSON", f"{action}: the answer is not JSON", retry_helps=True) from reason
    if not isinstance(said, dict):
        raise AwsError("NOT_JSON", f"{action}: the answer is not a JSON object", retry_helps=True)
    return said

"""Signs requests to MX Merchant by OAuth 1.0a, for accounts that ask for it: https://developer.mxmerchant.com/reference/oauth-10a.

A consumer key gets a request token and exchanges it for an access token, which is good for a day; with that, every
request is signed by HMAC-SHA1. An account that has an access token of its own needs no exchange.
"""

import threading
import time
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qs

import httpx

from gatehouse.errors import GatewayError, GatewayKeyRefused

if TYPE_CHECKING:
    from oauthlib.oauth1 import Client  # type: ignore[import-untyped]  # it ships no types

TOKEN_SECONDS = 23 * 3600.0  # of the 24 hours that a token is good for
REQUEST_TOKEN, ACCESS_TOKEN = "/oauth/1a/requesttoken", "/oauth/1a/accesstoken"
OUT_OF_BAND = "oob"  # nobody is asked to allow anything, so nothing calls back
REFUSED = (401, 403)


class Token(NamedTuple):
    """What a request is signed with besides the consumer's key."""

    key: str
    secret: str

    def __repr__(self) -> str:
        return "<Token>"


class OAuth(httpx.Auth):
    """Signs each request; fetches an access token first where the account has none."""

    requires_response_body = True

    def __init__(
        self,
        consumer_key: str,
        consumer_secret: str,
        base_url: str,
        token: Token | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._consumer = Token(consumer_key, consumer_secret)
        self._base_url = base_url
        self._given = token
        self._fetched: Token | None = None
        self._good_until = 0.0
        self._clock = clock
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return "<OAuth>"

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response]:
        """Sign a request; once more with a new token where the kept one is not taken any more."""
        fetched_before = self._is_kept()
        token = self._given or (yield from self._kept_token())
        _sign(request, self._client(token))
        response = yield request
        if response.status_code in REFUSED and self._given is None and fetched_before:
            self._good_until = 0.0
            _sign(request, self._client((yield from self._kept_token())))
            yield request

    def _is_kept(self) -> bool:
        return self._fetched is not None and self._clock() < self._good_until

    def _kept_token(self) -> Generator[httpx.Request, httpx.Response, Token]:
        if self._is_kept() and self._fetched:
            return self._fetched
        asked = yield from self._token_from(REQUEST_TOKEN, self._client(None, callback=OUT_OF_BAND))
        fetched = yield from self._token_from(ACCESS_TOKEN, self._client(asked))
        with self._lock:
            self._fetched, self._good_until = fetched, self._clock() + TOKEN_SECONDS
        return fetched

    def _token_from(self, path: str, client: "Client") -> Generator[httpx.Request, httpx.Response, Token]:
        request = httpx.Request("POST", self._base_url + path, extensions=_TIMEOUT)
        _sign(request, client)
        response = yield request
        response.read()
        if response.status_code in REFUSED:
            message = f"MX Merchant answered {response.status_code} to POST {path}"
            raise GatewayKeyRefused(message, retry_helps=False, answered_status=response.status_code)
        said = parse_qs(response.text) if response.status_code == httpx.codes.OK else {}
        key, secret = said.get("oauth_token"), said.get("oauth_token_secret")
        if not key or not secret:
            raise GatewayError(f"MX Merchant's answer to POST {path} has no token", retry_helps=True)
        return Token(key[0], secret[0])

    def _client(self, token: Token | None, callback: str | None = None) -> "Client":
        from oauthlib.oauth1 import Client  # here: 68 ms, and nearly every account goes by Basic authentication

        return Client(
            self._consumer.key,
            client_secret=self._consumer.secret,
            resource_owner_key=token.key if token else None,
            resource_owner_secret=token.secret if token else None,
            callback_uri=callback,
        )


_TIMEOUT = {"timeout": {"connect": 3.0, "read": 4.5, "write": 4.5, "pool": 4.5}}


def _sign(request: httpx.Request, client: "Client") -> None:
    """Sign what OAuth signs of a request: its method, address and query; a body of JSON is no part of that."""
    _url, headers, _body = client.sign(str(request.url), request.method)
    request.headers["authorization"] = headers["Authorization"]

"""Looks at the console as API Gateway does: through the Lambda handler, with cookies kept as a browser keeps them."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from html import unescape
from typing import Any, NamedTuple
from urllib.parse import urlencode

from console.app import build
from console.desk import ConsoleDesk
from gatehouse.database.connection import Database
from gatehouse.errors import AwsError
from gatehouse.http_api.lambda_handler import lambda_handler
from gatehouse.jobs.depths import Depth
from gatehouse.sealing import Keyring
from gatehouse.tenants.tokens import Tokens
from local.api_gateway_event import api_gateway_event, read_target
from local.http_connection import HttpMessage

HOST = "console.example.com"


class Shown(NamedTuple):
    """A page as it was answered."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def words(self) -> str:
        """Return what a reader sees, without marks, in one line."""
        body = re.sub(r"<(script|style).*?</\1>", " ", self.text, flags=re.DOTALL)
        return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())

    @property
    def location(self) -> str:
        """Return where a browser is sent to."""
        return self.headers.get("location", "")

    def hidden(self) -> dict[str, str]:
        """Return the hidden fields of the forms in the page's content."""
        content = self.text.split("<main", 1)[-1]
        return {
            name: unescape(value)
            for name, value in re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', content)
        }

    def links(self) -> list[str]:
        """Return where the page leads to."""
        return [unescape(found) for found in re.findall(r'<a [^>]*href="([^"]*)"', self.text)]


class Console:
    """The console over the databases of the test; `sign_in` makes browsers."""

    def __init__(self) -> None:
        self.api_database: Database | None = None
        self.ops_database: Database | None = None
        self.backup: Database | None = None
        self.keys: Keyring | None = None
        self.rung: list[tuple[int, str]] = []
        self.queue_depths: list[Depth] | AwsError = []
        self.tokens = Tokens((), lambda _: {})
        desk = ConsoleDesk(
            self._current("api_database"),
            self._current("ops_database"),
            self._current("keys"),
            lambda: self,  # type: ignore[arg-type, return-value]  # rings
            lambda: self.backup,
            self._depths,
            tokens=lambda: self.tokens,
        )
        self.handler = lambda_handler(build(desk))

    def _current(self, name: str) -> Callable[[], Any]:
        def current() -> Any:
            found = getattr(self, name)
            assert found is not None
            return found

        return current

    def _depths(self) -> list[Depth]:
        if isinstance(self.queue_depths, AwsError):
            raise self.queue_depths
        return self.queue_depths

    def ring(self, jobs: Sequence[tuple[int, str]], **patience: float) -> int:
        """Stand for the bell: keep what it was asked to ring for."""
        del patience
        self.rung += jobs
        return len(jobs)

    def browser(self) -> "Browser":
        """Return a browser that has not signed in."""
        return Browser(self)

    def sign_in(self, key: str) -> "Browser":
        """Return a browser that has signed in with a key."""
        browser = self.browser()
        answer = browser.post("/console/sign-in", {"key": key}, csrf=False)
        assert answer.status == 303, answer.words
        return browser


class Browser:
    """One browser with its cookies."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.cookies: dict[str, str] = {}
        self.set_cookies: list[str] = []
        self._csrf = ""

    def get(self, path: str, **query: Any) -> Shown:
        """Ask for a page."""
        target = f"{path}?{urlencode(query, doseq=True)}" if query else path
        return self._send("GET", target, b"", {})

    def post(
        self, path: str, fields: Mapping[str, Any] | None = None, *, csrf: bool = True, headers: Any = None
    ) -> Shown:
        """Send a form, with the token of this session."""
        sent = dict(fields or {})
        if csrf and "csrf" not in sent:
            sent["csrf"] = self.csrf()
        form = {"content-type": "application/x-www-form-urlencoded", "origin": f"https://{HOST}"}
        return self._send("POST", path, urlencode(sent, doseq=True).encode(), {**form, **(headers or {})})

    def csrf(self) -> str:
        """Return the token that forms of this session carry."""
        if not self._csrf:
            found = re.search(r'name="csrf" value="([^"]+)"', self.get("/console/preferences").text)
            assert found is not None
            self._csrf = found[1]
        return self._csrf

    def _send(self, method: str, target: str, body: bytes, headers: Mapping[str, str]) -> Shown:
        sent = [("host", HOST), *headers.items()]
        sent += [("cookie", "; ".join(f"{name}={value}" for name, value in self.cookies.items()))]
        message = HttpMessage(method=method, target=target, headers=sent, body=body, keeps_alive=True)
        event = api_gateway_event(
            message,
            read_target(target),
            route_key="ANY /console/{proxy+}",
            path_parameters={"proxy": target},
            source_ip="203.0.113.7",
            port=443,
            request_id="JKJaXmPLvHcESHA=",
        )
        answer = self.console.handler(json.loads(json.dumps(event)), None)
        self.set_cookies = answer.get("cookies") or []
        for each in self.set_cookies:
            name, _, value = each.partition(";")[0].partition("=")
            if "max-age=0" in each.lower():
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value
        return Shown(answer["statusCode"], answer["headers"], answer.get("body", ""))

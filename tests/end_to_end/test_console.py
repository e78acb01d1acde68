"""The console in the whole stack: through the front door, under Lambda's own runtime client, by the printed link."""

import re

import httpx
import pytest

from tests.support.stack import RunningStack

pytestmark = pytest.mark.req("O4", "O2")


def test_a_newcomer_follows_the_printed_link_and_sees_what_arrived(running_stack: RunningStack) -> None:
    facts = running_stack.facts
    with httpx.Client(base_url=facts["api_url"], timeout=30, trust_env=False) as browser:
        assert browser.get("/console").headers["location"] == "/console/sign-in"
        asked = browser.get(facts["console_url"])
        ticket = re.search(r'name="ticket" value="([^"]+)"', asked.text)
        assert ticket is not None
        signed_in = browser.post("/console/sign-in", data={"ticket": ticket[1]})
        assert (signed_in.status_code, signed_in.headers["location"]) == (303, "/console")
        assert "HttpOnly" in signed_in.headers["set-cookie"]
        assert browser.get("/console").headers["location"] == "/console/ops"
        for path, words in (
            ("/console/ops", "All merchants"),
            ("/console/ops/health", "enrichment"),
            ("/console/ops/settings", "make run, the console"),
            ("/console/m/default/payments", "Payments"),
        ):
            shown = browser.get(path)
            assert shown.status_code == 200, path
            assert words in shown.text, path
        assert "SQS does not say" not in browser.get("/console/ops/health").text
        style = re.search(r'href="(/console/static/style\.css[^"]*)"', shown.text)
        assert style is not None
        assert browser.get(style[1]).headers["content-type"] == "text/css; charset=utf-8"

"""The testing guide of docs/forwarding.md, step by step against the running stack, as somebody does it by hand."""

import json
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.postgres import run_sql
from tests.support.stack import RunningStack, wait_until

ROOT = Path(__file__).parents[2]
ask = partial(httpx.request, timeout=60)  # the functions start now, on a machine that may be busy
SAMPLE = json.loads((ROOT / "events" / "paystack" / "charge.success__2024_ngn_metadata.json").read_text())


def charge(reference: str, app: str | None) -> bytes:
    """Return the body of a charge that belongs to an app."""
    metadata = {"user_id": "u1", "plan": "premium", **({"app": app} if app else {})}
    data = {**SAMPLE["data"], "id": time.time_ns(), "reference": reference, "metadata": metadata}
    return json.dumps({**SAMPLE, "data": data}).encode()


def rows(stack: RunningStack, text: str) -> list[list[Any]]:
    return run_sql(stack.facts["database_url"], text)


def delivered(stack: RunningStack, reference: str) -> list[list[Any]]:
    """Return what the log says of a reference, once it says something."""
    query = (
        f"select ok, status_code, attempt_count from webhook_forward_logs where reference = '{reference}' order by id"
    )
    wait_until(lambda: rows(stack, query), seconds=60)
    return rows(stack, query)


@pytest.mark.req("G6", "R1", "R2", "R3", "R4", "R5", "R6", "B7", "D3")
def test_the_steps_of_the_guide(running_stack: RunningStack) -> None:
    stack = running_stack
    parts = urlsplit(stack.facts["receiver_url"])
    receiver = f"{parts.scheme}://{parts.netloc}"

    def received(reference: str) -> list[int]:
        found = ask("GET", f"{receiver}/_received").json()["received"]
        return [
            each["status"] for each in found if reference in each["body"] and (each["is_genuine"] or not each["status"])
        ]

    def conduct(**words: Any) -> None:
        ask("PUT", f"{receiver}/_control/conduct", content=json.dumps(words).encode()).raise_for_status()

    # 1: at the older router's own address
    forged = ask(
        "POST",
        f"{stack.facts['api_url']}/api/paystack/webhook",
        content=b'{"event":"charge.success"}',
        headers={"content-type": "application/json", "x-paystack-signature": "invalid"},
    )
    assert forged.status_code == 400

    # 2 and 3
    assert stack.send("paystack", charge("guide2", None))[0] == 200
    assert stack.send("paystack", charge("guide3", "ElevenOne"))[0] == 200
    assert delivered(stack, "guide3") == [[True, 200, 1]]
    assert received("guide3") == [200]
    assert rows(stack, "select user_id, plan, status from elevenone_subscriptions where reference = 'guide3'") == [
        ["u1", "premium", "completed"]
    ]
    assert rows(stack, "select user_id from nexai_subscriptions where reference = 'guide2'") == [["u1"]]
    assert rows(stack, "select 1 from webhook_forward_logs where reference = 'guide2'") == []

    try:
        # 4
        conduct(kind="status", status=500, times=2)
        assert stack.send("paystack", charge("guide4", "elevenone"))[0] == 200
        assert delivered(stack, "guide4") == [[True, 200, 3]]
        assert received("guide4") == [500, 500, 200]

        # 5
        conduct(kind="down")
        status, answer = stack.send("paystack", charge("guide5", "elevenone"))
        assert (status, json.loads(answer)["status"]) == (200, "applied")
        assert delivered(stack, "guide5") == [[False, None, 3]]
    finally:
        ask("DELETE", f"{receiver}/_control/conduct").raise_for_status()
    ((failed,),) = rows(stack, "select id from webhook_forward_logs where reference = 'guide5'")
    retried = subprocess.run(
        [sys.executable, "-m", "cli.main", "forwards", "retry", str(failed)],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **stack.facts["command_line"]},
        capture_output=True,
        text=True,
    )
    assert "is rung for" in retried.stdout, retried.stderr
    wait_until(lambda: delivered(stack, "guide5") == [[False, None, 3], [True, 200, 1]], seconds=60)
    assert received("guide5")[-1] == 200

    # 6
    key = {"authorization": f"Bearer {stack.facts['api_key']}"}
    stats = ask("GET", f"{stack.facts['api_url']}/api/forwards/stats", headers=key).json()["apps"]
    (of_app,) = [each for each in stats if each["app"] == "elevenone"]
    assert of_app["deliveries"] - of_app["delivered"] >= 1
    assert 0 < of_app["success_rate_pct"] < 100

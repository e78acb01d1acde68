"""What ops do from the command line, against the running stack: accounts, merchants, keys, refused requests."""

import json
import os
import subprocess
import time
from typing import Any

import pytest

from gatehouse.accounts import fingerprint
from tests.support import command_line
from tests.support.postgres import run_sql
from tests.support.stack import RunningStack, wait_until
from tests.support.stripe_requests import signature, stripe_event

WITHIN_A_MINUTE = 75


def gatehouse(stack: RunningStack, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command as ops would, against this stack."""
    environment = {"PATH": os.environ["PATH"], **stack.facts["command_line"]}
    return command_line.gatehouse(*arguments, environment=environment, stdin=stdin)


def done(stack: RunningStack, *arguments: str, stdin: str = "") -> str:
    """Run a command that must work; return what it said."""
    found = gatehouse(stack, *arguments, stdin=stdin)
    assert found.returncode == 0, found.stderr
    return found.stdout


def send(stack: RunningStack, account: str, secret: str, event_id: str) -> tuple[int, dict[str, Any]]:
    """Send a signed Stripe event to an account's own URL."""
    from local.send import post

    body = json.dumps(stripe_event(event_id, id=f"pi_{event_id}", latest_charge=f"ch_{event_id}")).encode()
    url = f"{stack.facts['api_url']}/webhooks/stripe/{account}"
    status, answer = post(url, body, {"stripe-signature": signature(body, secret=secret)})
    return status, json.loads(answer)


@pytest.mark.req("G11", "O5", "M7", "G12")
def test_an_account_from_its_first_event_to_its_last(running_stack: RunningStack) -> None:
    stack = running_stack
    done(stack, "merchants", "add", "acme", "--name", "Acme")
    secret, newer = "whsec_planted_old_secret", "whsec_planted_new_secret"
    said = done(
        stack,
        "gateways",
        "add",
        "stripe",
        "acme-eu",
        "--merchant",
        "acme",
        "--mode",
        "both",
        "--credentials",
        "-",
        stdin=json.dumps({"signing_secret": secret, "api_key": "sk_planted_api_key"}),
    )
    assert "/webhooks/stripe/acme-eu" in said

    began = time.monotonic()
    wait_until(lambda: send(stack, "acme-eu", secret, "evt_acme_1")[0] == 200, seconds=WITHIN_A_MINUTE)
    assert time.monotonic() - began < 60, "a new account works within a minute"
    assert send(stack, "acme-eu", "whsec_forged", "evt_acme_forged")[0] == 400
    fee = "select fee_minor from payments where account = 'acme-eu' and fee_minor is not null"
    wait_until(lambda: run_sql(stack.facts["database_url"], fee)[:1] == [[164]])  # asked with the account's own API key

    done(
        stack,
        "gateways",
        "rotate",
        "stripe",
        "acme-eu",
        "--credentials",
        "-",
        stdin=json.dumps({"signing_secret": newer}),
    )
    wait_until(lambda: send(stack, "acme-eu", newer, "evt_acme_2")[0] == 200, seconds=WITHIN_A_MINUTE)
    assert send(stack, "acme-eu", secret, "evt_acme_3")[0] == 200, "the old one still works"

    refused = gatehouse(stack, "gateways", "retire", "stripe", "acme-eu")
    assert (refused.returncode, "still in use within 24 hours" in refused.stderr) == (1, True)
    assert "1 old retired" in done(stack, "gateways", "retire", "stripe", "acme-eu", "--force")
    shown = done(stack, "gateways", "show", "stripe", "acme-eu")
    assert "current" in shown
    assert "set" in shown

    tested = done(stack, "gateways", "test", "stripe", "acme-eu", "--url", stack.facts["api_url"])
    assert '"status": "ignored"' in tested
    assert "acme-eu" in done(stack, "events", "rejected", "--gateway", "stripe", "--headers")
    assert "Acme" in done(stack, "merchants", "list")
    assert "is off" in done(stack, "gateways", "disable", "stripe", "acme-eu")
    assert "is on" in done(stack, "gateways", "enable", "stripe", "acme-eu")
    assert "all are sealed with k1" in done(stack, "keys", "rotate-master")
    assert "current" in done(stack, "keys", "list-master")

    listed = [done(stack, *command) for command in (("gateways", "list"), ("events", "list"), ("events", "rejected"))]
    everything = "\n".join([*stack.lines, json.dumps(stack.facts["gateways"]), said, shown, tested, *listed])
    for planted in (secret, newer, "sk_planted_api_key", "whsec_forged"):
        assert planted not in everything


@pytest.mark.req("O5", "M6", "G11")
def test_new_credentials_end_an_accounts_trouble_and_its_jobs_go_on(running_stack: RunningStack) -> None:
    stack = running_stack
    done(stack, "merchants", "add", "practice")
    account = ("mx_merchant", "practice")
    given = {"merchant_id": "500000001", "consumer_key": "refused", "consumer_secret": "planted_old"}
    where = ("--merchant", "practice", "--mode", "test", *FROM_STDIN)
    done(stack, "gateways", "add", *account, *where, stdin=json.dumps(given))
    waits = "select due_at > now() from jobs where business_key = 'practice/waits'"
    run_sql(
        stack.facts["database_url"],
        "insert into gateway_troubles (gateway, account, merchant, kind, reason, credentials_mark, asked_again_at)"
        " values ('mx_merchant', 'practice', 'practice', 'refused', 'it answered 401', 'old', now() + interval '1 h');"
        "insert into jobs (topic, business_key, merchant, arguments, due_at, ring_after)"
        """ values ('refetch', 'practice/waits', 'practice', '{"gateway": "mx_merchant", "account": "practice"}',"""
        " now() + interval '1 h', now() + interval '1 h')",
    )
    assert "credentials refused since" in " ".join(done(stack, "gateways", "list").split())
    assert run_sql(stack.facts["database_url"], waits) == [[True]]
    changed = json.dumps({"consumer_key": "key", "consumer_secret": "planted_new"})
    said = done(stack, "gateways", "credentials", *account, *FROM_STDIN, stdin=changed)
    assert said.strip() == "mx_merchant/practice: changed consumer_key, consumer_secret"
    assert run_sql(stack.facts["database_url"], waits) == [[False]]
    assert run_sql(stack.facts["database_url"], "select * from gateway_troubles where account = 'practice'") == []
    shown = done(stack, "gateways", "show", *account)
    assert "500000001" in shown  # what was not given stays
    assert "planted" not in shown + said


ADD = ("gateways", "add", "stripe", "x", "--merchant", "default", "--mode", "test")
FROM_STDIN = ("--credentials", "-")


@pytest.mark.req("O5")
@pytest.mark.parametrize(
    ("arguments", "stdin", "complaint"),
    [
        (("gateways", "add", "venmo", *ADD[3:]), "", "must be one of"),
        (("gateways", "add", "stripe", "default", *ADD[4:]), "", "lives in Secrets Manager"),
        (("gateways", "add", "stripe", "a/b", *ADD[4:]), "", "it stands in the URL"),
        ((*ADD[:-1], "prod"), "", "must be one of test, live, both"),
        ((*ADD[:5], "nobody", *ADD[6:], *FROM_STDIN), '{"signing_secret": "s"}', "there is no merchant nobody"),
        (ADD, "", "nobody is there to be asked"),
        ((*ADD, *FROM_STDIN), "{}", "signing_secret is missing"),
        ((*ADD, *FROM_STDIN), "secret", "not JSON"),
        (("gateways", "show", "stripe", "nobody"), "", "there is no account stripe/nobody"),
        (("gateways", "add", "stripe", "é", *ADD[4:]), "", "it stands in the URL"),
        (("gateways", "add", "stripe", "..", *ADD[4:]), "", "it stands in the URL"),
        (("gateways", "list", "--gateway", "venmo"), "", "must be one of stripe, paypal"),
        (
            ("gateways", "credentials", "mx_merchant", "nobody", *FROM_STDIN),
            "{}",
            "there is no account mx_merchant/nobody",
        ),
        (("gateways", "test", "stripe", "x", "--url", "hooks.example.com"), "", "must be https:// and a host"),
        (("events", "list", "--gateway", "venmo"), "", "must be one of stripe, paypal"),
        (("events", "rejected", "--gateway", "venmo"), "", "must be one of stripe, paypal"),
        (("merchants", "add", "No Spaces"), "", "Invalid value for 'merchant': must be 1 to 63 lower-case letters"),
        (("merchants", "add", "default"), "", "error: there is a merchant default already"),
        (("merchants", "disable", "nobody"), "", "there is no merchant nobody"),
    ],
)
def test_what_is_wrong_is_said(
    running_stack: RunningStack, arguments: tuple[str, ...], stdin: str, complaint: str
) -> None:
    found = gatehouse(running_stack, *arguments, stdin=stdin)
    assert found.returncode != 0
    assert complaint in " ".join(found.stderr.replace("│", " ").split())
    assert "Traceback" not in found.stderr


@pytest.mark.req("O5")
def test_an_account_that_is_there_and_an_address_that_does_not_answer_are_one_clear_line(
    running_stack: RunningStack,
) -> None:
    add = ("gateways", "add", "stripe", "twice", "--merchant", "default", "--mode", "test", *FROM_STDIN)
    done(running_stack, *add, stdin='{"signing_secret": "whsec_twice"}')
    again = gatehouse(running_stack, *add, stdin='{"signing_secret": "whsec_twice"}')
    assert (again.returncode, again.stderr) == (1, "error: there is an account stripe/twice already\n")
    unheard = gatehouse(running_stack, "gateways", "test", "stripe", "twice", "--url", "http://127.0.0.1:1")
    assert unheard.returncode == 1
    assert unheard.stderr.startswith("error: http://127.0.0.1:1 does not answer")
    assert len(unheard.stderr.splitlines()) == 1


@pytest.mark.req("G11", "O5")
def test_the_use_of_a_default_accounts_secret_is_shown(running_stack: RunningStack) -> None:
    secret = running_stack.facts["gateways"]["stripe"]["signing_secret"]
    assert send(running_stack, "default", secret, "evt_counted")[0] == 200
    shown = done(running_stack, "gateways", "show", "stripe", "default")
    assert "its secret is in Secrets Manager" in shown
    assert fingerprint(secret) in shown
    assert secret not in shown

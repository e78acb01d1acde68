"""One request at the webhook: every way it can end."""

import base64
import json
import secrets
from collections.abc import Callable
from typing import Any

import pytest

from gatehouse.accounts import GatewayAccount
from gatehouse.database.connection import Database
from gatehouse.errors import RequestRefused
from gatehouse.gateways import stripe
from gatehouse.intake.accounts import AccountDirectory, default_account
from gatehouse.intake.inbox import Inbox, opened_message
from gatehouse.intake.receive import Desk, receive
from gatehouse.intake.rejected import Rejections
from gatehouse.intake.replay import replay
from gatehouse.jobs.bell import Bell
from gatehouse.sealing import Keyring
from tests.intake.conftest import KEYS
from tests.support.database import database_at
from tests.support.queues import Queues, sqs_event, unreachable_sqs
from tests.support.stripe_requests import SECRET, api_request, signature, stripe_event

MakeDesk = Callable[..., Desk]


@pytest.fixture
def make_desk(intake: Database, keyring: Keyring, queues: Queues) -> MakeDesk:
    """Return a function that makes a desk; each part of it may be another."""

    def make(
        *,
        database: Database | None = None,
        bell: Bell | None = None,
        secret: dict[str, Any] | None = None,
        inbox_bell: Bell | None = None,
    ) -> Desk:
        held = secret or {"signing_secrets": [SECRET, "whsec_on_its_way_out"], "mode": "both"}
        return Desk(
            database=lambda: database or intake,
            keyring=lambda: keyring,
            accounts=lambda gateway: AccountDirectory(
                gateway, lambda: database or intake, lambda: keyring, lambda _refresh: held
            ),
            bell=lambda: bell or queues.bell(),
            inbox=lambda: Inbox(inbox_bell or queues.bell(), queues.urls["inbox"], queues.urls["inbox-dlq"]),
            rejections=Rejections(),
        )

    return make


@pytest.fixture
def desk(make_desk: MakeDesk) -> Desk:
    """A desk whose every part works."""
    return make_desk()


def away() -> Database:
    """Return a database that nobody answers for."""
    return database_at("postgresql://gatehouse_intake:x@127.0.0.1:9/gatehouse", away_seconds=5)


def answered(desk: Desk, request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    answer = receive(stripe, request, desk)
    return answer["statusCode"], json.loads(answer["body"])


def counts(reader: Database) -> dict[str, int]:
    tables = ("webhook_events", "webhook_payloads", "payments", "payment_objects", "facts", "payment_audit_log", "jobs")
    return {table: reader.query_one(f"select count(*) as n from {table}")["n"] for table in tables}


NOTHING = dict.fromkeys(
    ("webhook_events", "webhook_payloads", "payments", "payment_objects", "facts", "payment_audit_log", "jobs"), 0
)


@pytest.mark.req("G1", "G8", "P5", "P7", "P8", "G12")
def test_a_signed_event_becomes_one_payment_with_its_audit_its_sealed_bytes_and_its_job(
    desk: Desk, ops: Database, worker: Database, keyring: Keyring, queues: Queues
) -> None:
    body = json.dumps(stripe_event(metadata={"order_id": "A-7"}), indent=2).encode()
    assert answered(desk, api_request(body)) == (200, {"status": "applied", "event": "evt_1"})

    payment = ops.query_one("select * from payments")
    assert (payment["status"], payment["amount_minor"], payment["received_minor"]) == ("completed", 4620, 4620)
    assert (payment["currency"], payment["reference"], payment["livemode"]) == ("EUR", "A-7", False)
    assert payment["fee_minor"] is None
    names = ops.query("select kind, object_id, payment_id from payment_objects order by kind")
    assert [(row["kind"], row["object_id"]) for row in names] == [("charge", "ch_1"), ("payment_intent", "pi_1")]
    assert {row["payment_id"] for row in names} == {payment["id"]}

    sealed = worker.query_one("select * from webhook_payloads")
    assert b"A-7" not in sealed["sealed"]
    assert keyring.open(sealed["key_id"], sealed["sealed"], ("stripe", "default", "evt_1")) == body

    audit = ops.query_one("select * from payment_audit_log")
    assert (audit["action"], audit["actor"], audit["row_id"]) == ("insert", "gatehouse_intake", payment["id"])
    assert audit["changes"]["status"] == [None, "completed"]
    assert audit["changes"]["metadata"][1].startswith("hash:")
    assert audit["webhook_event_id"] == ops.query_one("select id from webhook_events")["id"]

    job = ops.query_one("select * from jobs")
    assert (job["topic"], job["business_key"], job["status"]) == ("fetch_fee", "stripe/default/pi_1", "waiting")
    assert queues.take_json("enrichment") == [{"job": job["id"]}]


@pytest.mark.req("G8", "G9")
def test_a_second_delivery_changes_nothing_and_is_told_so(desk: Desk, ops: Database, queues: Queues) -> None:
    answered(desk, api_request(stripe_event()))
    queues.take("enrichment")
    before = counts(ops)
    status, words = answered(desk, api_request(stripe_event()))
    assert (status, words["status"]) == (200, "duplicate")
    assert words["first_received_at"] == ops.query_one("select received_at as t from webhook_events")["t"].isoformat()
    assert counts(ops) == before
    assert queues.take("enrichment") == []


@pytest.mark.req("G1", "G10")
@pytest.mark.parametrize(
    ("make_request", "status", "code"),
    [  # made and signed when the test runs: a signature is good for five minutes
        (lambda: api_request(stripe_event(), header=""), 400, "SIGNATURE_REFUSED"),
        (lambda: api_request(stripe_event(), header="t=1,v1=00"), 400, "SIGNATURE_REFUSED"),
        (lambda: api_request(stripe_event(), header=signature(b"another body")), 400, "SIGNATURE_REFUSED"),
        (lambda: api_request(b"not json"), 400, "NOT_JSON"),
        (lambda: api_request(b'{"object": "charge"}'), 400, "NOT_AN_EVENT"),
        (lambda: api_request(b"\xff\xfe", base64_body=True), 400, "NOT_JSON"),
        (lambda: api_request(b"{" + b" " * 1024 * 1024 + b"}"), 413, "BODY_TOO_LARGE"),
        (lambda: {**api_request(b"{}"), "body": "%%%", "isBase64Encoded": True}, 400, "BODY_NOT_BASE64"),
    ],
    ids=["no header", "malformed", "other body", "not JSON", "no event", "not text", "too large", "not base64"],
)
def test_what_is_refused_writes_nothing(
    desk: Desk, ops: Database, queues: Queues, make_request: Callable[[], dict[str, Any]], status: int, code: str
) -> None:
    answer_status, words = answered(desk, make_request())
    assert (answer_status, words["error"]["code"]) == (status, code)
    assert counts(ops) == NOTHING
    assert queues.take("inbox") == []


@pytest.mark.req("G1")
@pytest.mark.parametrize("secrets", [[], [""], None, "whsec_not_a_list"])
def test_a_gateway_without_a_secret_refuses_everything(make_desk: MakeDesk, ops: Database, secrets: Any) -> None:
    desk = make_desk(secret={"signing_secrets": secrets, "mode": "both"})
    status, words = answered(desk, api_request(stripe_event()))
    assert (status, words["error"]["code"]) == (404, "GATEWAY_NOT_CONFIGURED")
    assert counts(ops) == NOTHING


@pytest.mark.req("G11")
def test_the_old_secret_is_still_accepted_and_its_use_counted(
    desk: Desk, ops: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    from gatehouse.observability import metrics

    body = json.dumps(stripe_event()).encode()
    assert answered(desk, api_request(body, header=signature(body, secret="whsec_on_its_way_out")))[0] == 200
    metrics.emit()
    assert '"OldSecretUsed": 1' in capsys.readouterr().out
    assert counts(ops)["payments"] == 1


@pytest.mark.req("P7", "G10")
def test_an_unknown_type_is_kept_as_ignored(desk: Desk, ops: Database) -> None:
    status, words = answered(desk, api_request(stripe_event(type="radar.rule.changed")))
    assert (status, words["status"]) == (200, "ignored")
    event = ops.query_one("select * from webhook_events")
    assert event["status"] == "ignored"
    assert "radar.rule.changed" in event["reason"]
    assert counts(ops) == {**NOTHING, "webhook_events": 1, "webhook_payloads": 1}


@pytest.mark.req("G15")
def test_a_test_event_at_a_live_account_counts_as_nothing(make_desk: MakeDesk, ops: Database) -> None:
    desk = make_desk(secret={"signing_secrets": [SECRET], "mode": "live"})
    status, words = answered(desk, api_request(stripe_event()))
    assert (status, words["status"]) == (200, "ignored")
    assert ops.query_one("select reason from webhook_events")["reason"] == "wrong mode: a test event at a live account"
    assert counts(ops)["payments"] == 0


@pytest.mark.req("G10", "P7")
def test_money_that_makes_no_sense_is_kept_as_failed_with_its_reason(desk: Desk, ops: Database) -> None:
    status, words = answered(desk, api_request(stripe_event(currency="doubloons")))
    assert (status, words["status"]) == (200, "failed")
    event = ops.query_one("select * from webhook_events")
    assert (event["status"], event["reason"]) == ("failed", "the currency is missing or unknown")
    assert counts(ops) == {**NOTHING, "webhook_events": 1, "webhook_payloads": 1}


@pytest.mark.req("G10", "P7")
def test_a_fact_that_the_database_refuses_does_not_lose_the_event(
    desk: Desk, ops: Database, gatehouse_database: Any
) -> None:
    gatehouse_database.sql("alter table payments add constraint no_euros check (currency <> 'EUR')")
    status, words = answered(desk, api_request(stripe_event()))
    assert (status, words["status"]) == (200, "failed")
    assert "no_euros" in ops.query_one("select reason from webhook_events")["reason"]
    assert counts(ops) == {**NOTHING, "webhook_events": 1, "webhook_payloads": 1}
    # and another event is not held up by it
    assert answered(desk, api_request(stripe_event("evt_2", id="pi_2", currency="usd")))[1]["status"] == "applied"


@pytest.mark.req("G10")
def test_while_the_database_is_away_the_request_waits_sealed_and_is_recorded_later(
    make_desk: MakeDesk, desk: Desk, ops: Database, keyring: Keyring, queues: Queues
) -> None:
    request = api_request(stripe_event())
    status, words = answered(make_desk(database=away()), request)
    assert (status, words) == (200, {"status": "queued"})
    assert counts(ops) == NOTHING

    (message,) = queues.take("inbox")
    assert "pi_1" not in message
    assert opened_message(message, keyring).request.body.decode() == request["body"]
    assert replay(sqs_event(message), desk) == {"batchItemFailures": []}
    assert replay(sqs_event(message), desk) == {"batchItemFailures": []}  # SQS may hand it over twice
    assert counts(ops)["payments"] == 1
    received_at = ops.query_one("select received_at from webhook_events")["received_at"]
    assert int(received_at.timestamp() * 1000) == request["requestContext"]["timeEpoch"]
    assert queues.take_json("enrichment") == [{"job": ops.query_one("select id from jobs")["id"]}]


@pytest.mark.req("R2")
def test_the_content_type_is_kept_with_the_bytes_also_on_the_way_through_the_inbox(
    make_desk: MakeDesk, desk: Desk, worker: Database, queues: Queues
) -> None:
    requests = [api_request(stripe_event(f"evt_{number}", id=f"pi_{number}")) for number in (1, 2, 3)]
    for request, content_type in zip(requests, ("Application/JSON;charset=utf-8", "text/plain", None), strict=True):
        request["headers"] = {name: value for name, value in request["headers"].items() if name != "content-type"} | (
            {"Content-Type": content_type} if content_type else {}
        )
    for request in (requests[0], requests[2]):
        assert answered(desk, request)[1]["status"] == "applied"
    assert answered(make_desk(database=away()), requests[1])[1] == {"status": "queued"}
    assert replay(sqs_event(*queues.take("inbox")), desk) == {"batchItemFailures": []}
    assert worker.query("select content_type from webhook_payloads order by webhook_event_id") == [
        {"content_type": "Application/JSON;charset=utf-8"},
        {"content_type": None},  # nothing was said
        {"content_type": "text/plain"},
    ]


@pytest.mark.req("G10")
def test_with_database_and_queue_away_the_gateway_is_asked_to_come_again(make_desk: MakeDesk, queues: Queues) -> None:
    desk = make_desk(database=away(), inbox_bell=queues.bell(unreachable_sqs()))
    status, words = answered(desk, api_request(stripe_event()))
    assert (status, words["error"]) == (503, {"code": "SERVICE_UNAVAILABLE", "message": "try again later"})


@pytest.mark.req("G10")
def test_a_request_too_large_for_the_queue_is_turned_away(make_desk: MakeDesk) -> None:
    letters = [chr(code) for code in range(35, 127) if chr(code) != "\\"]
    noise = "".join(secrets.choice(letters) for _ in range(1_040_000))  # hardly gets smaller when it is compressed
    status, words = answered(make_desk(database=away()), api_request(stripe_event(metadata={"noise": noise})))
    assert (status, words["error"]["code"]) == (503, "SERVICE_UNAVAILABLE")


@pytest.mark.req("G10")
def test_a_bell_that_cannot_be_rung_does_not_change_the_answer(
    make_desk: MakeDesk, ops: Database, queues: Queues
) -> None:
    desk = make_desk(bell=queues.bell(unreachable_sqs()))
    assert answered(desk, api_request(stripe_event()))[0] == 200
    assert ops.query_one("select status from jobs")["status"] == "waiting"


@pytest.mark.req("G10", "M6")
def test_what_can_never_be_read_goes_to_the_inboxs_dead_letters_and_holds_nothing_up(
    desk: Desk, make_desk: MakeDesk, ops: Database, queues: Queues
) -> None:
    answered(make_desk(database=away()), api_request(stripe_event()))
    (good,) = queues.take("inbox")
    tampered = json.dumps({**json.loads(good), "account": "another"})
    assert replay(sqs_event("{}", tampered, good), desk) == {"batchItemFailures": []}
    assert sorted(queues.take("inbox-dlq")) == sorted(["{}", tampered])
    assert counts(ops)["payments"] == 1


def test_a_message_is_not_logged_under_the_name_of_the_event_before_it(
    desk: Desk, make_desk: MakeDesk, queues: Queues, capsys: pytest.CaptureFixture[str]
) -> None:
    answered(make_desk(database=away()), api_request(stripe_event()))
    replay(sqs_event(*queues.take("inbox"), "{}"), desk)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (unreadable,) = [line for line in lines if "cannot be read" in line["message"]]
    assert unreadable["event_id"] is None


@pytest.mark.req("G10")
def test_what_was_sealed_with_a_key_that_is_not_here_yet_comes_back(
    desk: Desk, make_desk: MakeDesk, ops: Database, queues: Queues
) -> None:
    newer = {"current": "k2", "keys": {**KEYS["keys"], "k2": base64.b64encode(bytes(range(1, 33))).decode()}}
    answered(make_desk(database=away())._replace(keyring=lambda: Keyring(newer)), api_request(stripe_event()))
    (message,) = queues.take("inbox")
    assert replay(sqs_event(message), desk) == {"batchItemFailures": [{"itemIdentifier": "message-0"}]}
    assert queues.take("inbox-dlq") == []
    assert replay(sqs_event(message), desk._replace(keyring=lambda: Keyring(newer))) == {"batchItemFailures": []}
    assert counts(ops)["payments"] == 1


@pytest.mark.req("G10")
def test_while_the_database_stays_away_the_replay_fails_as_a_whole_so_that_lambda_slows_down(
    make_desk: MakeDesk, queues: Queues
) -> None:
    from gatehouse.errors import ConnectionError

    desk = make_desk(database=away())
    answered(desk, api_request(stripe_event()))
    received = queues.receive("inbox")
    with pytest.raises(ConnectionError):
        replay(received, desk)
    assert queues.receive("inbox")["Records"] == []  # not at once,
    assert len(queues.receive("inbox", seconds=8)["Records"]) == 1  # but long before the queue's 120 seconds are over


@pytest.mark.req("M7")
def test_intake_writes_only_for_the_merchant_that_it_says(intake: Database) -> None:
    from gatehouse.errors import DatabaseError

    with pytest.raises(DatabaseError, match="row-level security"), intake.transaction(merchant="another") as t:
        t.query(
            "insert into payments (id, merchant, gateway, account, livemode, status, first_fact_at, last_fact_at) "
            "values (1, 'default', 'stripe', 'default', false, 'pending', now(), now())"
        )
    assert intake.query("select * from payments") == []


def test_a_secret_never_shows_in_an_account() -> None:
    account = GatewayAccount("stripe", "default", "default", "both", (SECRET,))
    assert SECRET not in repr(account)
    with pytest.raises(RequestRefused):
        default_account("stripe", {}, "prod")

"""Accounts in the database: found, refreshed, rotated, switched off; and requests that nobody can check yet."""

import base64
import json
import threading
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest

from gatehouse.accounts import fingerprint
from gatehouse.database.connection import Database
from gatehouse.errors import ConnectionError
from gatehouse.gateways import stripe
from gatehouse.intake.accounts import AccountDirectory, AccountUnknown
from gatehouse.intake.inbox import Inbox
from gatehouse.intake.receive import Desk, receive
from gatehouse.intake.rejected import MOST_A_MINUTE, Rejections, list_rejected
from gatehouse.intake.replay import replay
from gatehouse.jobs.sweep import sweep
from gatehouse.models import accounts
from gatehouse.sealing import Keyring
from tests.conftest import DatabaseOpener
from tests.intake.conftest import KEYS
from tests.support.database import database_at
from tests.support.gatehouse_database import GatehouseDatabase
from tests.support.proxies import CountingProxy
from tests.support.queues import Queues, sqs_event
from tests.support.stripe_requests import api_request, signature, stripe_event

pytestmark = pytest.mark.req("G11", "M7")


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Door:
    """Stripe's webhook with accounts in the database."""

    def __init__(self, database: Database, ops: Database, keyring: Keyring, queues: Queues) -> None:
        self.database, self.ops, self.keyring, self.queues = database, ops, keyring, queues
        self.clock = Clock()
        self.directory = self.new_directory(database)
        self.desk = Desk(
            database=lambda: self.database,
            keyring=lambda: keyring,
            accounts=lambda _gateway: self.directory,
            bell=queues.bell,
            inbox=lambda: Inbox(queues.bell(), queues.urls["inbox"], queues.urls["inbox-dlq"]),
            rejections=Rejections(clock=self.clock),
        )

    def new_directory(self, database: Database) -> AccountDirectory:
        """Return a directory that knows nothing yet, as in a new process."""
        return AccountDirectory("stripe", lambda: database, lambda: self.keyring, lambda _: {}, clock=self.clock)

    def add(self, account: str, secret: str, *, merchant: str = "default", mode: str = "both") -> None:
        """Add an account."""
        accounts.add_account(
            self.ops,
            self.keyring,
            gateway="stripe",
            account=account,
            merchant=merchant,
            mode=mode,
            credentials={"signing_secrets": [secret]},
        )

    def send(self, account: str, secret: str, event_id: str = "evt_1", **changes: Any) -> tuple[int, dict[str, Any]]:
        """Send an event to an account's URL, signed with a secret."""
        answer = receive(stripe, request(account, secret, event_id, **changes), self.desk)
        return answer["statusCode"], json.loads(answer["body"])


def request(account: str, secret: str, event_id: str = "evt_1", **changes: Any) -> dict[str, Any]:
    body = json.dumps(stripe_event(event_id, id=f"pi_{event_id}", latest_charge=None, **changes)).encode()
    return {**api_request(body, header=signature(body, secret=secret)), "pathParameters": {"account": account}}


@pytest.fixture
def door(intake: Database, ops: Database, keyring: Keyring, queues: Queues) -> Door:
    """Stripe's webhook."""
    return Door(intake, ops, keyring, queues)


def test_each_account_has_its_own_secret_and_its_own_merchant(door: Door) -> None:
    accounts.add_merchant(door.ops, "acme", "Acme")
    door.add("acme-eu", "whsec_acme", merchant="acme")
    door.add("other", "whsec_other")
    assert door.send("acme-eu", "whsec_acme")[0] == 200
    assert door.send("other", "whsec_acme", "evt_2")[0] == 400
    assert door.ops.query("select merchant, account from payments") == [{"merchant": "acme", "account": "acme-eu"}]


def test_the_same_event_id_at_two_accounts_is_two_events(door: Door) -> None:
    door.add("one", "whsec_one")
    door.add("two", "whsec_two")
    assert [door.send(account, f"whsec_{account}")[1]["status"] for account in ("one", "two")] == ["applied", "applied"]
    assert door.ops.query_one("select count(*) as n from payments")["n"] == 2


def test_credentials_rest_sealed(door: Door, gatehouse_database: GatehouseDatabase) -> None:
    door.add("acme", "whsec_planted_secret")
    ((dumped,),) = gatehouse_database.sql("select string_agg(a::text, '') from gateway_accounts a")
    assert "whsec_planted" not in dumped
    assert b"whsec_planted_secret".hex() not in dumped


def test_an_unknown_account_is_told_so(door: Door) -> None:
    status, words = door.send("nobody", "whsec_x")
    assert (status, words["error"]["code"]) == (404, "GATEWAY_NOT_CONFIGURED")


def test_a_new_account_works_within_a_minute(door: Door) -> None:
    assert door.send("acme", "whsec_acme")[0] == 404
    door.add("acme", "whsec_acme")
    assert door.send("acme", "whsec_acme")[0] == 404
    door.clock.now += 59
    assert door.send("acme", "whsec_acme")[0] == 200


def test_a_rotated_secret_works_at_once_and_the_old_one_until_it_is_retired(door: Door) -> None:
    door.add("acme", "whsec_old")
    assert door.send("acme", "whsec_old", "evt_1")[0] == 200
    kept = accounts.find_account(door.ops, door.keyring, "stripe", "acme")
    accounts.replace_credentials(door.ops, door.keyring, kept, {"signing_secrets": ["whsec_new", "whsec_old"]})
    assert door.send("acme", "whsec_new", "evt_2")[0] == 200, "a bad signature asks for newer secrets before it refuses"
    assert door.send("acme", "whsec_old", "evt_3")[0] == 200
    used = accounts.use_of_secrets(door.ops, "stripe", "acme", datetime(2026, 1, 1, tzinfo=UTC))
    assert {row["events"] for row in used.values()} == {1, 2}

    kept = accounts.find_account(door.ops, door.keyring, "stripe", "acme")
    accounts.replace_credentials(door.ops, door.keyring, kept, {"signing_secrets": ["whsec_new"]})
    door.clock.now += 61
    assert door.send("acme", "whsec_old", "evt_4")[0] == 400


def test_bad_signatures_ask_the_database_at_most_once_a_minute(
    door: Door, gatehouse_database: GatehouseDatabase, open_database: DatabaseOpener
) -> None:
    door.add("acme", "whsec_acme")
    with CountingProxy(gatehouse_database.port) as proxy:
        door.directory = door.new_directory(open_database(gatehouse_database.through(proxy.port).url("intake")))
        assert door.send("acme", "whsec_wrong")[0] == 400
        after_first = proxy.syncs
        for _ in range(20):
            assert door.send("acme", "whsec_wrong")[0] == 400
        assert proxy.syncs == after_first
        door.clock.now += 61
        assert door.send("acme", "whsec_wrong")[0] == 400
        assert proxy.syncs > after_first


def test_five_hundred_accounts_cost_no_more_than_one(
    door: Door, gatehouse_database: GatehouseDatabase, open_database: DatabaseOpener
) -> None:
    for number in range(500):
        door.add(f"shop-{number}", f"whsec_{number}")
    with CountingProxy(gatehouse_database.port) as proxy:
        door.directory = door.new_directory(open_database(gatehouse_database.through(proxy.port).url("intake")))
        for number in range(0, 500, 10):
            assert door.send(f"shop-{number}", f"whsec_{number}", f"evt_{number}")[0] == 200
        assert proxy.syncs == 1, "one question for all accounts, in the first minute"


def test_events_of_a_switched_off_account_or_merchant_are_kept_as_ignored(door: Door) -> None:
    accounts.add_merchant(door.ops, "clinic", "Clinic")
    door.add("clinic", "whsec_clinic", merchant="clinic")
    assert door.send("clinic", "whsec_clinic", "evt_1")[1]["status"] == "applied"
    for number, switch in enumerate((accounts.switch_merchant, accounts.switch_account), start=2):
        names = ("clinic",) if switch is accounts.switch_merchant else ("stripe", "clinic")
        switch(door.ops, *names, is_active=False)  # type: ignore[operator]  # two functions, each with its own names
        door.clock.now += 61
        status, words = door.send("clinic", "whsec_clinic", f"evt_{number}")
        assert (status, words["status"]) == (200, "ignored")
        assert words["reason"].startswith("switched off")
        switch(door.ops, *names, is_active=True)  # type: ignore[operator]  # as above
    door.clock.now += 61
    assert door.send("clinic", "whsec_clinic", "evt_9")[1]["status"] == "applied"


def test_while_the_database_is_away_known_accounts_are_checked_and_unknown_ones_wait(door: Door) -> None:
    door.add("known", "whsec_known")
    assert door.send("known", "whsec_known", "evt_0")[0] == 200
    database, away = door.database, database_at("postgresql://gatehouse_intake:x@127.0.0.1:9/x", away_seconds=60)
    door.database = away
    door.clock.now += 61
    known_directory, door.directory = door.directory, door.new_directory(away)

    assert door.send("known", "whsec_known", "evt_1")[1] == {"status": "queued"}  # nobody knows anything in here
    assert door.send("known", "whsec_forged", "evt_forged")[1] == {"status": "queued"}
    assert door.send("nobody", "whsec_known", "evt_nobody")[1] == {"status": "queued"}
    messages = door.queues.take("inbox")
    assert len(messages) == 3
    assert "whsec" not in "".join(messages)

    door.database, door.directory = database, known_directory
    door.clock.now += 3600  # a signature's age is judged by when it came, not by when it is looked at
    assert replay(sqs_event(*messages), door.desk) == {"batchItemFailures": []}
    rows = door.ops.query("select event_id, status from webhook_events order by id")
    assert [(row["event_id"], row["status"]) for row in rows] == [("evt_0", "applied"), ("evt_1", "applied")]
    assert len(door.queues.take("inbox-dlq")) == 1, "of an account that does not exist, a person decides"


def test_refused_requests_are_kept_masked_and_bounded(door: Door, worker: Database, queues: Queues) -> None:
    door.add("acme", "whsec_acme")
    for number in range(MOST_A_MINUTE + 5):
        door.send("acme", "whsec_wrong", f"evt_{number}")
    kept = list_rejected(door.ops, gateway="stripe", account="acme", most=100)
    assert len(kept) == MOST_A_MINUTE
    assert kept[0]["code"] == "SIGNATURE_REFUSED"
    assert kept[0]["body_bytes"] > 100
    assert "v1=" not in json.dumps(kept[0]["headers"])
    assert kept[0]["headers"]["content-type"] == "application/json"
    door.clock.now += 61
    door.send("acme", "whsec_wrong")
    assert len(list_rejected(door.ops, most=100)) == MOST_A_MINUTE + 1
    door.ops.query("delete from rejected_requests where id <= 5")
    worker.query("delete from rejected_requests where id = 6")
    sweep(worker, queues.bell(), seconds=5)
    assert len(list_rejected(door.ops, most=100)) == MOST_A_MINUTE - 5


def test_accounts_sealed_with_a_new_data_key_stay_in_use(door: Door, intake: Database) -> None:
    door.add("acme", "whsec_acme")
    door.add("broken", "whsec_broken")
    newer = {"current": "k2", "keys": {**KEYS["keys"], "k2": base64.b64encode(bytes(range(1, 33))).decode()}}
    kept = accounts.find_account(door.ops, door.keyring, "stripe", "acme")
    accounts.replace_credentials(door.ops, Keyring(newer), kept, kept.credentials)
    assert {row["key_id"]: row["accounts"] for row in accounts.keys_in_use(door.ops)} == {"k1": 1, "k2": 1}
    door.ops.query("update gateway_accounts set credentials = '\\x00' where account = 'broken'")

    behind = Keyring(KEYS, newer=lambda: newer)  # a process that fetched its keys before the new one was there
    door.directory = AccountDirectory("stripe", lambda: intake, lambda: behind, lambda _: {}, clock=door.clock)
    assert door.send("acme", "whsec_acme")[0] == 200
    assert behind.current == "k2"
    assert door.send("broken", "whsec_broken", "evt_2")[0] == 404


def test_a_secret_rotates_under_load_without_one_refused_event(
    door: Door, gatehouse_database: GatehouseDatabase, open_database: DatabaseOpener
) -> None:
    """Four processes, each with what it knows; the gateway changes to the new secret in the middle of its stream."""
    door.add("acme", "whsec_old")
    secret = ["whsec_old"]
    answers: Counter[int] = Counter()

    def stream(process: int) -> None:
        database = open_database(gatehouse_database.url("intake"))
        directory = door.new_directory(database)
        desk = door.desk._replace(database=lambda: database, accounts=lambda _: directory)
        for number in range(60):
            event = request("acme", secret[0], f"evt_{process}_{number}")
            answers[receive(stripe, event, desk)["statusCode"]] += 1

    threads = [threading.Thread(target=stream, args=(process,)) for process in range(4)]
    for thread in threads:
        thread.start()
    kept = accounts.find_account(door.ops, door.keyring, "stripe", "acme")
    accounts.replace_credentials(door.ops, door.keyring, kept, {"signing_secrets": ["whsec_new", "whsec_old"]})
    secret[0] = "whsec_new"
    for thread in threads:
        thread.join()
    assert answers == {200: 240}
    used = accounts.use_of_secrets(door.ops, "stripe", "acme", datetime(2026, 1, 1, tzinfo=UTC))
    assert sum(row["events"] for row in used.values()) == 240
    assert fingerprint("whsec_new") in used


def test_a_lost_update_of_credentials_is_refused(door: Door) -> None:
    from gatehouse.errors import TransactionConflict

    door.add("acme", "whsec_1")
    kept = accounts.find_account(door.ops, door.keyring, "stripe", "acme")
    accounts.replace_credentials(door.ops, door.keyring, kept, {"signing_secrets": ["whsec_2"]})
    with pytest.raises(TransactionConflict, match="changed by somebody else"):
        accounts.replace_credentials(door.ops, door.keyring, kept, {"signing_secrets": ["whsec_3"]})


def test_a_directory_does_not_know_what_is_not_there(door: Door) -> None:
    with pytest.raises(AccountUnknown):
        door.directory.find("nobody")
    with pytest.raises(AccountUnknown):
        door.directory.find("default")


def test_a_forgery_is_dropped_only_when_the_database_has_been_asked_for_newer_secrets(door: Door) -> None:
    door.add("acme", "whsec_old")
    known = door.directory
    assert door.send("acme", "whsec_old", "evt_0")[0] == 200
    kept = accounts.find_account(door.ops, door.keyring, "stripe", "acme")
    accounts.replace_credentials(door.ops, door.keyring, kept, {"signing_secrets": ["whsec_new"]})
    database, away = door.database, database_at("postgresql://gatehouse_intake:x@127.0.0.1:9/x", away_seconds=60)
    door.directory = door.new_directory(away)
    assert door.send("acme", "whsec_new", "evt_1")[1] == {"status": "queued"}
    (message,) = door.queues.take("inbox")

    # The replayer is a process that knows the old secret from an earlier outage, and has asked less than a minute ago.
    reachable = [away]
    known._database = lambda: reachable[0]
    door.directory, door.database = known, away
    with pytest.raises(ConnectionError):
        replay(sqs_event(message), door.desk)
    reachable[0] = door.database = database
    assert replay(sqs_event(message), door.desk) == {"batchItemFailures": []}
    assert {row["event_id"] for row in door.ops.query("select event_id from webhook_events")} == {"evt_0", "evt_1"}


def test_an_account_that_could_not_be_opened_is_asked_for_until_it_can(
    door: Door, intake: Database, gatehouse_database: GatehouseDatabase
) -> None:
    newer = {"current": "k2", "keys": {**KEYS["keys"], "k2": base64.b64encode(bytes(range(1, 33))).decode()}}
    door.add("acme", "whsec_acme")
    kept = accounts.find_account(door.ops, door.keyring, "stripe", "acme")
    accounts.replace_credentials(door.ops, Keyring(newer), kept, kept.credentials)
    gatehouse_database.sql("update gateway_accounts set updated_at = now() - interval '10 minutes'")
    door.add("later", "whsec_later")

    held = [KEYS]  # the new key cannot be fetched at first
    behind = Keyring(KEYS, newer=lambda: held[0])
    door.directory = AccountDirectory("stripe", lambda: intake, lambda: behind, lambda _: {}, clock=door.clock)
    assert door.send("acme", "whsec_acme")[0] == 404
    assert door.send("later", "whsec_later", "evt_2")[0] == 200
    held[0] = newer
    door.clock.now += 60
    assert door.send("acme", "whsec_acme")[0] == 200

"""Takes up again an event that failed or was ignored: its kept bytes are translated anew and recorded."""

from gatehouse.accounts import WRONG_MODE, GatewayAccount
from gatehouse.database.connection import Database
from gatehouse.errors import RequestRefused
from gatehouse.gateways import gateway_named
from gatehouse.intake.accounts import DEFAULT_ACCOUNT
from gatehouse.intake.record import Delivery, Recorded, reapply
from gatehouse.models.accounts import find_account
from gatehouse.models.events import Row, sealed_payload
from gatehouse.sealing import Keyring


def retry(database: Database, event: Row, keyring: Keyring) -> Recorded:
    """Translate and record a kept event again; `duplicate` says that it stands already and nothing was done."""
    account = _account_of(database, event, keyring)
    key_id, sealed = sealed_payload(database, event)
    body = keyring.open(key_id, sealed, (event["gateway"], event["account"], event["event_id"]))
    gateway = gateway_named(event["gateway"])
    translated = gateway.translate(gateway.read_event(body), event["account"])
    return reapply(database, Delivery(account, translated, body, event["received_at"]))


def _account_of(database: Database, event: Row, keyring: Keyring) -> GatewayAccount:
    """Return the account as it is now: one that was switched on again counts, and so does a mended mode."""
    if event["account"] != DEFAULT_ACCOUNT:
        return find_account(database, keyring, event["gateway"], event["account"]).for_intake
    if (event["reason"] or "").startswith(WRONG_MODE):  # the default account's mode is in a secret of the webhook's own
        raise RequestRefused(f"{event['event_id']} was ignored for its {event['reason']}; trying again changes nothing")
    # That mode was beyond doubt when the event came, so it stands for one that does not say its own.
    mode = "live" if event["livemode"] else "test"
    return GatewayAccount(event["gateway"], event["account"], event["merchant"], mode)

"""Takes up again an event that failed or was ignored: its kept bytes are translated anew and recorded."""

from gatehouse.database.connection import Database
from gatehouse.gateways import gateway_named
from gatehouse.intake.accounts import GatewayAccount
from gatehouse.intake.record import Delivery, Recorded, reapply
from gatehouse.models.events import Row, sealed_payload
from gatehouse.sealing import Keyring


def retry(database: Database, event: Row, keyring: Keyring) -> Recorded:
    """Translate and record a kept event again; `duplicate` says that it stands already and nothing was done."""
    key_id, sealed = sealed_payload(database, event)
    body = keyring.open(key_id, sealed, (event["gateway"], event["account"], event["event_id"]))
    gateway = gateway_named(event["gateway"])
    translated = gateway.translate(gateway.read_event(body), event["account"])
    account = GatewayAccount(event["gateway"], event["account"], event["merchant"], _mode_of(event), ())
    return reapply(database, Delivery(account, translated, body, event["received_at"]))


def _mode_of(event: Row) -> str:
    """Return the mode to judge the event by: one that was ignored for its mode stays ignored."""
    if "event at a" in (event["reason"] or ""):
        return "test" if event["livemode"] else "live"
    return "both"

"""The app of `make run`: a receiver on this machine, told of the events of `elevenone` as a real app would be."""

from gatehouse.database.connection import Database
from gatehouse.forwarding.app_rows import Sealed, find_app, opened, replace_sealed, set_up
from gatehouse.forwarding.sign import new_secret
from gatehouse.sealing import Keyring
from local.receiver import Receiver

MERCHANT, APP = "default", "elevenone"
PATH = "/webhooks/gatehouse"
LOCAL = "http://127.0.0.1:"


def secrets_of_app(database: Database, keyring: Keyring) -> tuple[str, ...]:
    """Return the app's signing secrets; it gets one where it has none."""
    row = find_app(database, MERCHANT, APP)
    content = opened(keyring, MERCHANT, row, APP)
    if content.secrets:
        return content.secrets
    given = Sealed((new_secret(),), content.headers)
    replace_sealed(database, keyring, row, given)
    return given.secrets


def tell_where(database: Database, keyring: Keyring, receiver: Receiver) -> str:
    """Let the app be told at the receiver, unless somebody has given it another address; return the receiver's."""
    url = receiver.url + PATH
    said = find_app(database, MERCHANT, APP)["target_url"]
    if said is None or said.startswith(LOCAL):
        set_up(database, keyring, MERCHANT, APP, {"target_url": url}, allowed_local=(receiver.address,))
    return url

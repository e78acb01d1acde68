"""SaySwitch: https://documentation.sayswitchgroup.com."""

from gatehouse.gateways import Credential
from gatehouse.gateways.sayswitch.translate import ASKABLE, HANDLED, NAME, read_event, translate
from gatehouse.gateways.sayswitch.verify import verify

__all__ = ["ASKABLE", "CREDENTIALS", "HANDLED", "NAME", "read_event", "translate", "verify"]

CREDENTIALS = (
    Credential("secret_key", "secret key", signs=True),
    Credential("amount_unit", "major or minor, of amounts (empty: major)", is_secret=False, is_required=False),
)

"""SaySwitch: https://documentation.sayswitchgroup.com."""

from gatehouse.gateways import Credential
from gatehouse.gateways.sayswitch.translate import HANDLED, NAME, read_event, translate
from gatehouse.gateways.sayswitch.verify import verify

__all__ = ["CREDENTIALS", "HANDLED", "NAME", "read_event", "translate", "verify"]

CREDENTIALS = (Credential("secret_key", "secret key", signs=True),)

"""SaySwitch: https://documentation.sayswitchgroup.com."""

from gatehouse.gateways.sayswitch.translate import HANDLED, NAME, read_event, translate
from gatehouse.gateways.sayswitch.verify import verify

__all__ = ["HANDLED", "NAME", "read_event", "translate", "verify"]

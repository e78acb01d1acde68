"""What webhooks a merchant should have at MX Merchant, what is wrong with those that it has, and how that is mended.

A webhook's address holds the account's token, so no address is ever shown: a webhook is told of by its number.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol
from urllib.parse import quote

EVENT_TYPES = ("PaymentSuccess", "PaymentFail", "RefundCreated")


class Notification(Protocol):
    """A webhook that MX Merchant knows."""

    @property
    def id(self) -> str:
        """Return its number."""
        ...

    @property
    def event_type(self) -> str:
        """Return which event it sends."""
        ...

    @property
    def callback_url(self) -> str:
        """Return where it is sent."""
        ...

    @property
    def sends_webhook(self) -> bool:
        """Tell whether it is switched on."""
        ...


class NotificationClient(Protocol):
    """The part of a client that looks after webhooks."""

    def list_notifications(self) -> Sequence[Notification]:
        """Return the webhooks that are registered for the merchant."""
        ...

    def create_notification(self, event_type: str, callback_url: str) -> None:
        """Register a webhook."""
        ...

    def delete_notification(self, notification_id: str) -> None:
        """Take a webhook back."""
        ...


class Finding(NamedTuple):
    """One thing that is not as it should be."""

    event_type: str
    what: str  # missing, switched off, wrong callback, duplicate
    notification_id: str = ""  # of the webhook that has to go


class Repair(NamedTuple):
    """What is to be done with a merchant's webhooks."""

    findings: tuple[Finding, ...]
    delete_first: tuple[str, ...]  # what stands in the way of a new one
    create: tuple[str, ...]  # types of events
    delete_last: tuple[str, ...]  # what the new ones take the place of: until then its events still come
    strangers: int  # webhooks of these types that lead elsewhere; they are left alone

    def __repr__(self) -> str:
        return f"<Repair {', '.join(f'{each.event_type} {each.what}' for each in self.findings) or 'nothing'}>"


def webhook_url(public_url: str, account: str, token: str) -> str:
    """Return the address of an account's webhook; it holds the token and is never shown."""
    return f"{public_url.rstrip('/')}/webhooks/mx_merchant/{quote(account, safe='')}/{quote(token, safe='')}"


def repair_of(registered: Sequence[Notification], public_url: str, wanted_url: str) -> Repair:
    """Compare the registered webhooks with the one that each type of event should have."""
    findings: list[Finding] = []
    delete_first: list[str] = []
    create: list[str] = []
    delete_last: list[str] = []
    strangers = 0
    for event_type in EVENT_TYPES:
        of_type = [each for each in registered if each.event_type == event_type]
        ours = [each for each in of_type if each.callback_url.startswith(f"{public_url.rstrip('/')}/")]
        strangers += len(of_type) - len(ours)
        right = [each for each in ours if each.callback_url == wanted_url]
        sending = [each for each in right if each.sends_webhook]
        off = [each for each in right if not each.sends_webhook]
        wrong = [each for each in ours if each.callback_url != wanted_url]
        findings += [Finding(event_type, "wrong callback", each.id) for each in wrong]
        findings += [Finding(event_type, "switched off", each.id) for each in off]
        findings += [Finding(event_type, "duplicate", each.id) for each in sending[1:]]
        if not sending:
            if not off and not wrong:
                findings.append(Finding(event_type, "missing"))
            create.append(event_type)
            delete_first += [each.id for each in off]  # MX Merchant takes no second one to the same address
        else:
            delete_last += [each.id for each in off]
        delete_last += [each.id for each in (*wrong, *sending[1:])]
    return Repair(tuple(findings), tuple(delete_first), tuple(create), tuple(delete_last), strangers)


def mend(client: NotificationClient, repair: Repair, wanted_url: str) -> None:
    """Carry out a repair; interrupted anywhere, the next one finds what is left to do."""
    for notification_id in repair.delete_first:
        client.delete_notification(notification_id)
    for event_type in repair.create:
        client.create_notification(event_type, wanted_url)
    for notification_id in repair.delete_last:
        client.delete_notification(notification_id)

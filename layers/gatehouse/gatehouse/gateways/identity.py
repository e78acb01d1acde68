"""Ids for the events of gateways that give them none."""

from hashlib import sha256

from gatehouse.gateways.fields import MOST_ID_CHARACTERS

# Where `read_event` puts the id that it made into the payload; no gateway has a key like it.
MADE_EVENT_ID = "gatehouse/event_id"


def made_event_id(body: bytes, *parts: str | None) -> str:
    """Return the parts that tell one event from every other, joined; where one is missing, the hash of the raw body."""
    if all(parts):
        # A slash inside a part is written in another way, so that different parts never join to the same id.
        joined = "/".join(part.replace("%", "%25").replace("/", "%2F") for part in parts if part)
        if 0 < len(joined) <= MOST_ID_CHARACTERS:
            return joined
    return f"sha256/{sha256(body).hexdigest()}"

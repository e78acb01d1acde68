"""The data keys of this process, with which stored payloads and credentials are sealed."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from gatehouse.sealing import Keyring
from gatehouse.secrets import secret
from gatehouse.settings import settings


def process_keyring() -> Keyring:
    """Return the data keys, read anew only when their secret was fetched anew."""
    return _keyring(_SameObject(secret(settings().data_keys_secret_arn)))


class _SameObject:
    """A secret that is compared by being the same object: the store returns a new one when it was fetched anew."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self.content = content

    def __hash__(self) -> int:
        return id(self.content)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _SameObject) and other.content is self.content


@lru_cache(maxsize=1)
def _keyring(keys: _SameObject) -> Keyring:
    return Keyring(keys.content, newer=lambda: secret(settings().data_keys_secret_arn, refresh=True))

"""Secrets are fetched once in a while, kept while Secrets Manager is away, and never shown."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from gatehouse.aws import AwsClient
from gatehouse.errors import AwsError, SecretUnavailable
from gatehouse.secrets import Secret, SecretStore
from gatehouse.settings import AwsCredentials

ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:stripe"


class FakeSecretsManager(AwsClient):
    """Answers GetSecretValue with what a test last put there."""

    def __init__(self) -> None:
        keys = AwsCredentials("key", "secret")
        super().__init__("secretsmanager", region="eu-west-1", endpoint_url=None, credentials=lambda: keys)
        self.content: str | None = '{"signing_secrets": ["whsec_1"]}'
        self.failure: AwsError | None = None
        self.calls = 0

    def call(self, action: str, parameters: Mapping[str, Any], *, timeout_seconds: float) -> dict[str, Any]:
        assert (action, parameters) == ("GetSecretValue", {"SecretId": ARN})
        assert timeout_seconds <= 3
        self.calls += 1
        if self.failure:
            raise self.failure
        return {"SecretString": self.content}

    def rotate(self, *signing_secrets: str) -> None:
        self.content = json.dumps({"signing_secrets": signing_secrets})


class Clock:
    """The wall clock of a test."""

    def __init__(self) -> None:
        self.seconds = 1_795_000_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def manager() -> FakeSecretsManager:
    return FakeSecretsManager()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(manager: FakeSecretsManager, clock: Clock) -> SecretStore:
    return SecretStore(manager, clock=clock)


def signing_secrets(store: SecretStore, *, refresh: bool = False) -> list[str]:
    found: list[str] = store.get(ARN, refresh=refresh)["signing_secrets"]
    return found


class TestRemembered:
    def test_for_five_minutes(self, store: SecretStore, manager: FakeSecretsManager, clock: Clock) -> None:
        assert signing_secrets(store) == ["whsec_1"]
        manager.rotate("whsec_2", "whsec_1")
        clock.seconds += 299
        assert signing_secrets(store) == ["whsec_1"]
        clock.seconds += 1
        assert signing_secrets(store) == ["whsec_2", "whsec_1"]
        assert manager.calls == 2

    def test_the_same_object_while_nothing_was_fetched(self, store: SecretStore) -> None:
        assert store.get(ARN) is store.get(ARN)

    def test_a_clock_that_was_set_back_keeps_nothing_alive(
        self, store: SecretStore, manager: FakeSecretsManager, clock: Clock
    ) -> None:
        signing_secrets(store)
        clock.seconds -= 86_400
        signing_secrets(store)
        assert manager.calls == 2


@pytest.mark.req("G11")
class TestRefresh:
    def test_sees_a_rotation_at_once(self, store: SecretStore, manager: FakeSecretsManager) -> None:
        signing_secrets(store)
        manager.rotate("whsec_2")
        assert signing_secrets(store, refresh=True) == ["whsec_2"]

    def test_asks_once_a_minute_however_many_forgeries_arrive(
        self, store: SecretStore, manager: FakeSecretsManager, clock: Clock
    ) -> None:
        signing_secrets(store)
        for _ in range(100):
            signing_secrets(store, refresh=True)
        assert manager.calls == 2
        clock.seconds += 60
        signing_secrets(store, refresh=True)
        assert manager.calls == 3


class TestAway:
    def test_the_remembered_value_stays_in_use(
        self, store: SecretStore, manager: FakeSecretsManager, clock: Clock
    ) -> None:
        signing_secrets(store)
        manager.failure = AwsError("TIMEOUT", "no answer", retry_helps=True)
        clock.seconds += 86_400
        assert signing_secrets(store) == ["whsec_1"]

    def test_a_request_waits_for_it_only_so_often(
        self, store: SecretStore, manager: FakeSecretsManager, clock: Clock
    ) -> None:
        signing_secrets(store)
        manager.failure = AwsError("TIMEOUT", "no answer", retry_helps=True)
        clock.seconds += 301
        for _ in range(10):
            signing_secrets(store)
        assert manager.calls == 2
        manager.failure = None
        manager.rotate("whsec_2")
        clock.seconds += 15
        assert signing_secrets(store) == ["whsec_2"]

    def test_content_that_went_bad_does_not_replace_what_was_good(
        self, store: SecretStore, manager: FakeSecretsManager, clock: Clock
    ) -> None:
        signing_secrets(store)
        manager.content = "not JSON"
        clock.seconds += 301
        assert signing_secrets(store) == ["whsec_1"]

    @pytest.mark.parametrize("retry_helps", [True, False])
    def test_nothing_remembered(self, store: SecretStore, manager: FakeSecretsManager, retry_helps: bool) -> None:
        manager.failure = AwsError("AccessDeniedException", "GetSecretValue: denied", retry_helps=retry_helps)
        with pytest.raises(SecretUnavailable, match="denied") as raised:
            store.get(ARN)
        assert ARN in str(raised.value)
        assert raised.value.retry_helps is retry_helps

    @pytest.mark.parametrize("content", [None, "", "planted", '["planted"]', '{"a": "planted'])
    def test_content_that_is_no_object_is_not_quoted(
        self, store: SecretStore, manager: FakeSecretsManager, content: str | None
    ) -> None:
        manager.content = content
        with pytest.raises(SecretUnavailable, match="not a JSON object") as raised:
            store.get(ARN)
        error: BaseException | None = raised.value
        while error is not None:
            assert "planted" not in f"{error!r}"
            error = error.__cause__


def test_a_secret_does_not_show() -> None:
    secret = Secret({"api_key": "planted", "mode": "planted"})
    assert (
        f"{secret} {secret!r} {[secret]}"
        == "<Secret with api_key, mode> <Secret with api_key, mode> [<Secret with api_key, mode>]"
    )

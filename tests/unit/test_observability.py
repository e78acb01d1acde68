"""Log lines and metric lines: one JSON object each, nothing secret, and no failure of the caller's."""

import json
import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gatehouse.errors import QueryError
from gatehouse.observability import DIMENSIONS, METRICS, Log, Metrics
from gatehouse.observability import log as process_log
from gatehouse.settings import load, settings

ROOT = Path(__file__).parents[2]
CODE = [*(ROOT / "layers").rglob("*.py"), *(ROOT / "functions").rglob("*.py")]


class Lines(list[str]):
    """What was written, line by line."""

    def last(self) -> dict[str, Any]:
        said: dict[str, Any] = json.loads(self[-1], parse_constant=pytest.fail)
        return said


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.fixture
def log(lines: Lines) -> Log:
    return Log(lines.append)


@pytest.fixture
def metrics(lines: Lines) -> Metrics:
    return Metrics(lines.append, clock=lambda: 1_700_000_000.0)


@pytest.fixture(autouse=True)
def settings_of_this_test(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("STAGE", "dev")
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "stripe_webhook")
    monkeypatch.delenv("LOG_LEVEL", raising=False)
    settings.cache_clear()
    yield
    settings.cache_clear()


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no")


class TestLog:
    def test_a_line(self, log: Log, lines: Lines) -> None:
        log.bind(request_id="r1")
        log.info("Recorded an event.", gateway="stripe", payments=[1, 2])
        said = lines.last()
        assert datetime.fromisoformat(said.pop("timestamp")).tzinfo is not None
        assert said == {
            "level": "INFO",
            "message": "Recorded an event.",
            "function": "stripe_webhook",
            "cold_start": True,
            "request_id": "r1",
            "gateway": "stripe",
            "payments": [1, 2],
        }

    def test_goes_to_stdout_as_one_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        process_log.info("two\nlines")
        assert capsys.readouterr().out.count("\n") == 1

    def test_an_invocation_forgets_the_one_before(self, log: Log, lines: Lines) -> None:
        log.bind(request_id="r1", gateway="stripe")
        log.add(event_id="evt_1")
        log.info("first")
        assert lines.last()["event_id"] == "evt_1"
        log.bind(request_id="r2")
        log.info("second")
        said = lines.last()
        assert (said["request_id"], said["cold_start"]) == ("r2", False)
        assert not {"event_id", "gateway"} & said.keys()

    def test_levels(self, log: Log, lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
        for write in (log.debug, log.info, log.warning, log.error):
            write("x")
        assert [json.loads(line)["level"] for line in lines] == ["INFO", "WARNING", "ERROR"]
        monkeypatch.setenv("LOG_LEVEL", "DEBUG")
        settings.cache_clear()
        log.debug("x")
        assert lines.last()["level"] == "DEBUG"

    def test_says_why_the_settings_are_wrong_although_they_are(
        self, log: Log, lines: Lines, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("STAGE", "nowhere")
        settings.cache_clear()
        log.error("cannot start")
        assert lines.last()["message"] == "cannot start"

    def test_an_error_says_what_and_where(self, log: Log, lines: Lines) -> None:
        try:
            raise QueryError("the table is gone", sqlstate="42P01")
        except QueryError as error:
            log.error("not recorded", error=error)
        said = lines.last()
        assert (said["error_type"], said["error_code"]) == ("QueryError", "QUERY_ERROR")
        assert said["error_message"] == "the table is gone"
        assert "test_an_error_says_what_and_where" in said["trace"][-1]

    def test_a_field_cannot_take_the_place_of_the_lines_own(self, log: Log, lines: Lines) -> None:
        log.info("mine", message="theirs", level="NONE")
        assert (lines.last()["message"], lines.last()["level"]) == ("mine", "INFO")

    @pytest.mark.parametrize(
        ("value", "shown"),
        [
            (None, None),
            (True, True),
            (7, 7),
            (math.nan, "nan"),
            (-math.inf, "-inf"),
            (Decimal("1.50"), "1.50"),
            (datetime(2026, 11, 20, tzinfo=UTC), "2026-11-20 00:00:00+00:00"),
            (b"raw bytes", "<9 bytes>"),
            ({1: {"a": (1, 2)}}, {"1": {"a": [1, 2]}}),
            ("\ud800", "\ud800"),
            ("x" * 5000, "x" * 4000 + "… (5000 characters)"),
            (Unprintable(), "<Unprintable, not shown: RuntimeError>"),
        ],
    )
    def test_any_value_can_be_logged(self, log: Log, lines: Lines, value: object, shown: object) -> None:
        log.info("x", field=value)
        assert lines.last()["field"] == shown

    def test_a_value_that_holds_itself(self, log: Log, lines: Lines) -> None:
        ring: list[Any] = []
        ring.append(ring)
        log.info("x", field=ring)
        assert "<list>" in lines[-1]


@pytest.mark.req("G12")
class TestMasking:
    @pytest.mark.parametrize(
        "name",
        ["secret", "signing_secrets", "Stripe-Signature", "authorization", "password", "raw_body", "api_key", "apiKey",
         "session_token", "client_secret", "Cookie", "payload", "authorisation_code"],
    )  # fmt: skip
    def test_by_the_name_of_the_field(self, log: Log, lines: Lines, name: str) -> None:
        log.bind(**{name: "planted"})
        log.info("x", **{name: ["planted"]}, headers={name: "planted", "inner": [{name: {"a": "planted"}}]})
        assert "planted" not in lines[-1]

    def test_sizes_and_indexes_are_no_secrets(self, log: Log, lines: Lines) -> None:
        log.info("x", body_bytes=2501, secret_index=1, gateway_secret_arn="arn:aws:secretsmanager:x")
        said = lines.last()
        assert (said["body_bytes"], said["secret_index"]) == (2501, 1)
        assert said["gateway_secret_arn"] == "arn:aws:secretsmanager:x"

    @pytest.mark.parametrize(
        "text",
        [
            "key whsec_planted was wrong",
            "sk_live_planted",
            "rk_test_planted99",
            "AUTH_planted99",
            "pi_1_secret_planted99",
            "postgresql://gatehouse_intake:planted@db.example:5432/gatehouse",
        ],
    )
    def test_by_its_own_form(self, log: Log, lines: Lines, text: str) -> None:
        log.info(text, reason=text)
        log.error("x", error=ValueError(text))
        assert not any("planted" in line for line in lines)

    def test_a_card_number_is_not_shown(self, log: Log, lines: Lines) -> None:
        log.info("card 4111 1111 1111 1111", reason=["4111111111111111"])
        said = lines.last()
        assert (said["message"], said["reason"]) == ("card ****1111", ["****1111"])


class TestMetrics:
    def test_a_line_in_the_embedded_format(self, metrics: Metrics, lines: Lines) -> None:
        metrics.count("EventsRecorded", gateway="stripe")
        metrics.count("EventsRecorded", 2, gateway="stripe")
        metrics.measure("IntakeTime", 1.23456, gateway="stripe")
        metrics.measure("IntakeTime", 2, gateway="stripe")
        metrics.emit()
        assert lines.last() == {
            "_aws": {
                "Timestamp": 1_700_000_000_000,
                "CloudWatchMetrics": [
                    {
                        "Namespace": "Gatehouse",
                        "Dimensions": [["stage"], ["stage", "gateway"]],
                        "Metrics": [
                            {"Name": "EventsRecorded", "Unit": "Count"},
                            {"Name": "IntakeTime", "Unit": "Milliseconds"},
                        ],
                    }
                ],
            },
            "stage": "dev",
            "gateway": "stripe",
            "EventsRecorded": 3,
            "IntakeTime": [1.235, 2.0],
        }

    def test_one_line_for_each_set_of_dimensions(self, metrics: Metrics, lines: Lines) -> None:
        metrics.count("EventsRecorded", gateway="stripe")
        metrics.count("EventsRecorded", gateway="paypal")
        metrics.count("JobsRungAgain")
        metrics.emit()
        assert [json.loads(line).get("gateway") for line in lines] == ["stripe", "paypal", None]

    def test_emitted_once(self, metrics: Metrics, lines: Lines) -> None:
        metrics.count("EventsRecorded")
        metrics.emit()
        metrics.emit()
        assert len(lines) == 1

    def test_no_more_values_in_a_line_than_cloudwatch_takes(self, metrics: Metrics, lines: Lines) -> None:
        for value in range(250):
            metrics.measure("IntakeTime", value)
        metrics.emit()
        assert [len(json.loads(line)["IntakeTime"]) for line in lines] == [100, 100, 50]

    def test_decimals_are_numbers(self, metrics: Metrics, lines: Lines) -> None:
        metrics.measure("OldestDueJob", Decimal("12.5"))  # type: ignore[arg-type]  # what Postgres gives for an interval
        metrics.emit()
        assert lines.last()["OldestDueJob"] == 12.5

    def test_an_unknown_name_is_a_mistake_of_ours(self, metrics: Metrics) -> None:
        with pytest.raises(ValueError, match="no metric is named 'EventsEaten'"):
            metrics.count("EventsEaten")
        with pytest.raises(ValueError, match="merchant"):
            metrics.count("EventsRecorded", merchant="one of thousands")

    @pytest.mark.req("O1")
    def test_every_metric_is_counted_somewhere(self) -> None:
        elsewhere = "".join(path.read_text() for path in CODE if path.name != "observability.py")
        elsewhere += '"ColdStarts"'  # by the object itself: the next test
        assert [name for name in METRICS if f'"{name}"' not in elsewhere] == []

    def test_a_process_tells_once_that_it_is_new(self, lines: Lines) -> None:
        process = Metrics(lines.append, is_of_process=True)
        process.emit()
        process.emit()
        assert len(lines) == 1
        assert (lines.last()["ColdStarts"], lines.last()["function"]) == (1, "stripe_webhook")

    def test_every_metric_says_what_it_is(self) -> None:
        for name, metric in METRICS.items():
            assert re.fullmatch(r"([A-Z][a-z]+)+", name)
            assert metric.unit in ("Count", "Milliseconds", "Seconds", "Percent", "None")
            assert metric.sentence.endswith(".")
        assert len(DIMENSIONS) <= 6, "each value of each is paid for"


def test_the_keys_of_aws_are_in_no_settings() -> None:
    found = load({"AWS_SECRET_ACCESS_KEY": "planted", "AWS_SESSION_TOKEN": "planted", "AWS_ACCESS_KEY_ID": "planted"})
    assert "planted" not in repr(found)

"""What docs/forwarding.md promises to whoever runs forwarding: its queries run, and its table knows every error."""

import re
from pathlib import Path

import pytest

from gatehouse.errors import HeaderRefused, TargetRefused
from gatehouse.forwarding import deliver
from gatehouse.forwarding.http_answer import AnswerUnreadable
from gatehouse.jobs.sweep import MOST_A_SECOND_OF_A_LANE
from gatehouse.jobs.topics import TOPICS
from local.receiver import Conduct
from tests.forwarding.story import Story

GUIDE = (Path(__file__).parents[2] / "docs" / "forwarding.md").read_text()


@pytest.mark.req("R6", "R4")
def test_the_queries_of_the_guide_answer(story: Story) -> None:
    with story.receiver() as app:
        app.behave(Conduct("status", 500, times=2))
        story.charge(reference="T1")
        story.work()
        app.behave(Conduct("status", 400))
        story.charge(reference="T2")
        story.charge(app=None)
        story.work()
        url = app.url
    recent, rates, failed, sources = (story.ops.query(each) for each in re.findall(r"```sql\n(.*?)```", GUIDE, re.S))
    assert [(row["reference"], row["ok"], row["status_code"], row["attempt_count"]) for row in recent] == [
        ("T2", False, 400, 1),
        ("T1", True, 200, 3),
    ]
    (rate,) = rates
    assert (rate["app"], rate["total_attempts"], rate["successful"], float(rate["success_rate_pct"])) == (
        "elevenone",
        2,
        1,
        50.0,
    )
    (row,) = failed
    assert (row["reference"], row["error_message"][:37]) == ("T2", 'hooks.example.com answered 400: { "er')
    assert row["target_url"].endswith(url.rpartition(":")[2] + "/hooks")
    assert {each["source"]: each["count"] for each in sources} == {"nexai": 1, "elevenone": 2}


def test_the_guide_knows_every_error_that_a_delivery_may_end_with() -> None:
    source = Path(deliver.__file__).read_text()
    named = {deliver.TIMEOUT, *re.findall(r'return "([A-Z_]+)", f"', source)}
    assert named == {"TIMEOUT", "NAME_UNKNOWN", "TLS", "NETWORK"}
    table = GUIDE.split("| error |")[1].split("\n\n")[0]
    for code in (*named, TargetRefused.code, HeaderRefused.code, AnswerUnreadable.code):
        assert f"`{code}`" in table
    for status in (*(f"HTTP_{each}" for each in (408, 425, 429, 410)), "HTTP_3xx", "HTTP_5xx"):
        assert f"`{status}`" in table


def test_the_guide_tells_the_numbers_of_the_code() -> None:
    assert f"goes at {MOST_A_SECOND_OF_A_LANE} a second" in GUIDE
    assert f"After {TOPICS['forward'].most_attempts} deliveries in vain" in GUIDE

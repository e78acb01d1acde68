"""The page of `gatehouse dashboard preview` says first whether anything rings, and shows what rings before the rest."""

import pytest

from local.cloudwatch import Series, State
from local.dashboard_page import page

TEXT = {"type": "text", "x": 0, "y": 0, "width": 24, "height": 2, "properties": {"markdown": "## Is money flowing?"}}


@pytest.mark.req("O1")
def test_the_first_line_says_whether_anything_rings() -> None:
    business = {"business": {"widgets": [TEXT]}}
    quiet = page(business, Series([]), {"a": State.OK, "b": State.OK}, now=0)
    assert "<h1>Alarms: all 2 are quiet</h1>" in quiet
    assert "class='alarm ringing'" not in quiet
    loud = page(business, Series([]), {"a": State.OK, "b": State.ALARM}, now=0)
    assert "<h1>1 of 2 alarms rings</h1>" in loud
    assert loud.index("b: ALARM") < loud.index("a: OK")
    both = page(business, Series([]), {"a": State.ALARM, "b": State.ALARM}, now=0)
    assert "<h1>2 of 2 alarms ring</h1>" in both

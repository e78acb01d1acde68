"""What the guide says that AWS takes is what the template of today makes of it."""

import copy

import pytest

from bench import cost


@pytest.mark.req("O3")
def test_the_guide_holds_the_tables_of_todays_template() -> None:
    guide = cost.GUIDE.read_text()
    assert cost.written(guide) == guide, "run: python -m bench.cost --write"


@pytest.mark.req("O3")
def test_a_template_that_becomes_dearer_shows() -> None:
    resources = cost.template()
    dearer = copy.deepcopy(resources)
    dearer["StripeWebhookFunction"]["Properties"]["MemorySize"] *= 2
    events, more = cost.of_a_million(resources), cost.of_a_million(dearer)
    assert [each.what for each, other in zip(events, more, strict=True) if each != other] == [
        "Lambda: recorded by its webhook, bell rung"
    ]
    idle, dearer_idle = cost.of_a_month(resources), cost.of_a_month(dearer)
    assert [each.what for each, other in zip(idle, dearer_idle, strict=True) if each != other] == [
        "SnapStart, versions kept ready"
    ]


@pytest.mark.req("O3")
def test_sums_are_right_by_hand() -> None:
    """A million requests of 20 ms at 1 GB: 20,000 GB-s and a million requests."""
    (_door, webhook, *_rest) = cost.of_a_million(cost.template())
    assert webhook.dollars == pytest.approx(20_000 * 0.0000133334 + 0.20)

"""cfn-lint finds nothing in template.yaml, nor in what SAM makes of it, where it can see more."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.template.expansion import TEMPLATE, expand, our_template
from tests.template.test_rules import changed


@pytest.mark.req("O3")
def test_the_template_is_clean() -> None:
    assert lint(TEMPLATE) == ""


@pytest.mark.req("O3")
def test_the_expansion_is_clean(tmp_path: Path) -> None:
    file = tmp_path / "expanded.json"
    file.write_text(json.dumps(our_template().expanded))
    assert lint(file) == ""


def test_the_expansion_shows_what_the_template_hides(tmp_path: Path) -> None:
    queue = {"Fn::GetAtt": ["EnrichmentQueue", "Arn"]}
    event = {"Type": "SQS", "Properties": {"Queue": queue, "ScalingConfig": {"MaximumConcurrency": 1}}}
    source = changed("Resources/InvoiceEnricherFunction/Properties/Events", {"Queue": event})
    file = tmp_path / "expanded.json"
    file.write_text(json.dumps(expand(source).expanded))
    assert "1 is less than the minimum of 2" in lint(file)


def lint(file: Path) -> str:
    """Return the findings of cfn-lint, empty when there are none."""
    command = [str(Path(sys.executable).with_name("cfn-lint")), str(file)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.stdout if done.returncode else ""

"""checkov finds no hole in what SAM makes of the template; what it is told to leave out has its reason."""

import copy
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.template.expansion import PROJECT, our_template

SETTINGS = PROJECT / ".checkov.yaml"


@pytest.mark.req("O3")
def test_no_hole_is_found_but_one_that_is_made(tmp_path: Path) -> None:
    """One run looks at both: ours finds nothing, and the one with a hole shows that it was looked at at all."""
    ours = copy.deepcopy(our_template().expanded)
    ours["Resources"]["OpenBucket"] = {"Type": "AWS::S3::Bucket", "Properties": {"AccessControl": "PublicRead"}}
    found = scan(tmp_path / "expanded.json", ours)
    assert found
    assert {line for line in found if not line.endswith("AWS::S3::Bucket.OpenBucket")} == set()


@pytest.mark.req("O3")
def test_each_exception_is_needed_and_has_its_reason() -> None:
    lines = [line.strip() for line in SETTINGS.read_text().partition("skip-check:")[2].splitlines() if line.strip()]
    left_out: list[str] = yaml.safe_load(SETTINGS.read_text())["skip-check"]
    assert len(left_out) == len(set(left_out))
    for name in left_out:
        assert lines[lines.index(f"- {name}") - 1].startswith("# "), name


def scan(file: Path, template: dict[str, Any]) -> list[str]:
    """Return what checkov finds in a template: the resource of each failed check."""
    file.write_text(json.dumps(template))
    done = subprocess.run(
        ["make", "scan", f"EXPANDED={file}"], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 2), done.stderr
    return [line.strip() for line in done.stdout.splitlines() if "FAILED for resource" in line]

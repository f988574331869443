"""What lies in deploy/ names things that there are, and lets the aggregator do no more than it has to."""

from __future__ import annotations

import re
import shutil
import subprocess
from configparser import RawConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "flexpact-aggregator.service"


def unit() -> RawConfigParser:
    """The unit; keys that may come twice keep the last."""
    parser = RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # the way configparser is told
    parser.read(UNIT, encoding="utf-8")
    return parser


def test_the_unit_gives_up_everything_that_the_aggregator_does_not_need() -> None:
    service = dict(unit()["Service"])
    assert service["NoNewPrivileges"] == "yes"
    assert service["ProtectSystem"] == "strict"
    assert service["CapabilityBoundingSet"] == ""
    assert service["RestrictAddressFamilies"] == "AF_INET AF_INET6 AF_UNIX"
    assert service["UMask"] == "0077"
    assert service["User"] != "root"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not here")
def test_systemd_finds_it_safe() -> None:
    said = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", UNIT],
        check=False,
        capture_output=True,
        text=True,
    ).stdout
    found = re.search(r"exposure level for .*?: ([0-9.]+)", said)
    assert found is not None, said
    assert float(found[1]) <= 2.0


def test_unit_and_container_start_the_command_that_there_is() -> None:
    command = unit()["Service"]["ExecStart"].split()
    assert command[1:3] == ["aggregator", "serve"]
    assert '"aggregator", "serve"' in (DEPLOY / "Dockerfile").read_text(encoding="utf-8")


def test_the_container_writes_to_its_state_alone() -> None:
    compose = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    assert {"    read_only: true", "    cap_drop: [ALL]"} <= set(compose.splitlines())
    mounted = re.findall(r"^ +- (\S+:/\S+)$", compose, re.MULTILINE)
    assert [volume for volume in mounted if not volume.endswith(":ro")] == ["state:/var/lib/flexpact"]
    (file,) = re.findall(r"dockerfile: (\S+)", compose)
    assert (ROOT / file).is_file()


def test_the_handbook_and_its_links_lead_somewhere() -> None:
    page = ROOT / "docs" / "operations.md"
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target

"""The scripts for outsiders come along with an installed wheel."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

from ledger.outsider import scripts

ROOT = Path(__file__).parents[2]
TELL = "import sys; sys.path.insert(0, sys.argv[1]); from ledger.outsider import scripts; print(scripts())"


def test_a_wheel_holds_the_scripts_as_they_stand_in_the_docs(tmp_path: Path) -> None:
    made = scripts()
    assert made == {file.name: file.read_bytes() for file in (ROOT / "docs" / "verify").glob("*.py")}
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    command = [sys.executable, "-I", "-S", "-c", TELL, str(tmp_path / "installed")]
    done = subprocess.run(command, cwd="/", check=True, capture_output=True, text=True)
    assert done.stdout == f"{made}\n"

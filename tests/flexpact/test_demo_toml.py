import tomllib
from pathlib import Path

from flexpact.demo.toml import write_toml


def test_what_is_written_reads_back_the_same(tmp_path: Path) -> None:
    content = {
        "name": 'a "quoted" \\ text with ä',
        "count": 3,
        "ratio": 0.5,
        "on": True,
        "list": ["a", "b"],
        "empty": [],
        "section": {"x": 1, "deeper": {"y": 2.5}},
        "rows": [{"a": 1, "terms": {"b": "c"}}, {"a": 2, "terms": {"b": "d"}}],
    }
    path = write_toml(tmp_path / "settings.toml", content)
    assert tomllib.loads(path.read_text(encoding="utf-8")) == content


def test_a_settings_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = write_toml(tmp_path / "settings.toml", {"path": Path("/x")})
    assert path.stat().st_mode & 0o077 == 0
    assert tomllib.loads(path.read_text(encoding="utf-8")) == {"path": "/x"}

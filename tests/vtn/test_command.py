"""`flexpact vtn` as a process: it serves what was enrolled, and says in one sentence why it does not."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

from flexpact.bare_vtn import read_settings
from tests.vtn.desk import ALICE


def flexpact(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flexpact", "vtn", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def config(directory: Path, text: str) -> Path:
    path = directory / "vtn.toml"
    path.write_text(f"[vtn]\n{text}\n")
    return path


def test_enrolling_gives_the_same_id_again(tmp_path: Path) -> None:
    ids = [flexpact("enrol", "alice", ALICE, "--database", tmp_path / "a.db") for _ in range(2)]
    assert ids[0].stdout == ids[1].stdout != ""


def test_wrong_fingerprint_is_one_sentence(tmp_path: Path) -> None:
    done = flexpact("enrol", "alice", "5E:71", "--database", tmp_path / "a.db")
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "flexpact vtn: not a fingerprint: '5E:71'; "
        "expected 29 characters such as 5E:71:..., or SHA-256 in 64 hex digits"
    )


def test_port_in_use_is_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        path = config(tmp_path, f"port = {port}\ninsecure_dev = true")
        done = flexpact("serve", "--config", path, "--database", tmp_path / "a.db")
    assert done.returncode == 1
    message = f"flexpact vtn: cannot listen on 127.0.0.1 port {port}: Address already in use"
    assert done.stderr.strip().splitlines()[-1] == message


def test_wrong_setting_is_named(tmp_path: Path) -> None:
    for text, named in (("port = 70000", "vtn.port"), ("colour = 1", "vtn.colour"), ("x", "cannot be read")):
        done = flexpact("serve", "--config", config(tmp_path, text), "--database", tmp_path / "a.db")
        assert done.returncode == 1
        assert named in done.stderr
        assert "Traceback" not in done.stderr


def test_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    database = tmp_path / "missing" / "a.db"
    done = flexpact("enrol", "alice", ALICE, "--database", database)
    assert done.returncode == 1
    sentence = f"the database {database} cannot be made ready: unable to open database file"
    assert done.stderr.strip().splitlines()[-1] == f"flexpact vtn: {sentence}"
    assert "http" not in done.stderr
    assert "Traceback" not in done.stderr


def test_settings_that_are_no_text_are_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "vtn.toml"
    path.write_bytes(b"[vtn]\n\xff\n")
    done = flexpact("serve", "--config", path, "--database", tmp_path / "a.db")
    assert done.returncode == 1
    assert done.stderr.startswith(f"flexpact vtn: {path} cannot be read: ")
    assert done.stderr.count("\n") == 1


def test_files_in_the_settings_start_at_the_folder_of_the_settings(tmp_path: Path) -> None:
    names = ("cert", "key", "ca", "crl", "rsa_cert", "rsa_key", "key_password_file")
    path = config(tmp_path, "\n".join(f'{name} = "pki/{name}.pem"' for name in names))
    settings = read_settings(path).vtn
    assert {getattr(settings, name) for name in names} == set(settings.tls_files)
    assert {file.parent for file in settings.tls_files} == {tmp_path / "pki"}


def test_help_names_the_tables_of_the_settings() -> None:
    words = flexpact("serve", "--help").stdout.replace("│", " ").replace("`", "").split()
    assert "the listener in vtn, the operator's API in operator." in " ".join(words)

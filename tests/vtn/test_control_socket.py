"""Where the operator is heard: whose the socket is, and who may use the loopback port."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from vtn.control_socket import ControlSocket, Loopback, listen, read_token
from vtn.errors import StartupError

TOKEN = "0123456789abcdef0123456789abcdef"


async def test_a_socket_that_cannot_be_made_is_one_clear_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartupError, match=r"cannot listen on .*file/control: "):
        await listen(web.Application(), tmp_path / "file" / "control")


async def test_a_file_in_the_place_of_the_socket_is_not_deleted(tmp_path: Path) -> None:
    (tmp_path / "control").write_text("somebody's notes")
    with pytest.raises(StartupError, match="cannot listen on"):
        await listen(web.Application(), tmp_path / "control")
    assert (tmp_path / "control").read_text() == "somebody's notes"


async def test_a_socket_that_somebody_answers_on_is_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "control"
    first = await listen(web.Application(), path)
    with pytest.raises(StartupError, match="another process answers there"):
        await listen(web.Application(), path)
    assert path.is_socket()
    await first.close()
    assert not path.exists()


async def test_a_socket_that_a_killed_process_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "control"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    await (await listen(web.Application(), path)).close()
    assert not path.exists()


async def test_a_socket_that_another_process_made_in_its_place_is_left_to_it(tmp_path: Path) -> None:
    path = tmp_path / "control"
    first = await listen(web.Application(), path)
    path.unlink()
    second = await listen(web.Application(), path)
    await first.close()
    assert path.is_socket()
    await second.close()


def hello() -> web.Application:
    async def greet(_request: web.Request) -> web.StreamResponse:
        return web.json_response("hello")

    app = web.Application()
    app.router.add_get("/", greet)
    return app


async def ask(control: ControlSocket, **headers: str) -> tuple[int, str | None, object]:
    url = f"http://127.0.0.1:{control.port}/"
    async with aiohttp.ClientSession() as http, http.get(url, headers=headers) as answer:
        said = await answer.json(content_type=None)
        return answer.status, answer.headers.get("WWW-Authenticate"), said


async def test_no_answer_names_the_software_below(tmp_path: Path) -> None:
    control = await listen(hello(), tmp_path / "control", Loopback(0, TOKEN))
    async with aiohttp.ClientSession() as http:
        for path, headers in (("", {"Authorization": f"Bearer {TOKEN}"}), ("", {}), ("nothing", {})):
            async with http.get(f"http://127.0.0.1:{control.port}/{path}", headers=headers) as answer:
                assert answer.headers["Server"] == "flexpact"
    await control.close()


async def test_the_loopback_port_answers_with_the_token_only(tmp_path: Path) -> None:
    control = await listen(hello(), tmp_path / "control", Loopback(0, TOKEN))
    try:
        assert control.runner.addresses[1][0] == "127.0.0.1"
        assert await ask(control, Authorization=f"Bearer {TOKEN}") == (200, None, "hello")
        for wrong in ({}, {"Authorization": TOKEN}, {"Authorization": f"Bearer {TOKEN}x"}):
            status, challenge, said = await ask(control, **wrong)
            assert (status, challenge) == (401, "Bearer")
            assert isinstance(said, dict)
            assert said["type"] == "urn:flexpact:problem:unauthorised"
    finally:
        await control.close()


async def test_the_socket_needs_no_token(tmp_path: Path) -> None:
    control = await listen(hello(), tmp_path / "control", Loopback(0, TOKEN))
    connector = aiohttp.UnixConnector(str(tmp_path / "control"))
    try:
        async with aiohttp.ClientSession(connector=connector) as http, http.get("http://x/") as answer:
            assert answer.status == 200
    finally:
        await control.close()


async def test_there_is_no_port_unless_it_is_asked_for(tmp_path: Path) -> None:
    control = await listen(hello(), tmp_path / "control")
    assert control.port is None
    await control.close()


async def test_a_port_in_use_leaves_no_socket_behind(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartupError, match=f"127.0.0.1 port {port}: Address already in use"):
            await listen(hello(), tmp_path / "control", Loopback(port, TOKEN))
    assert not (tmp_path / "control").exists()


def token_file(folder: Path, text: str = TOKEN, mode: int = 0o600) -> Path:
    path = folder / "token"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_token_is_read_without_its_line_end(tmp_path: Path) -> None:
    assert read_token(token_file(tmp_path, TOKEN + "\n")) == TOKEN


@pytest.mark.parametrize(
    ("text", "mode", "sentence"),
    [
        (TOKEN, 0o640, "may be read by others: chmod 600"),
        (TOKEN, 0o604, "may be read by others"),
        (TOKEN[:-1], 0o600, "needs 32 characters or more"),
        (TOKEN[:20] + " " + TOKEN, 0o600, "without spaces"),
        ("tökén" * 10, 0o600, "cannot be read"),
    ],
    ids=["group may read", "others may read", "too short", "a space in it", "no ASCII"],
)
def test_a_token_that_is_not_safe_is_refused(tmp_path: Path, text: str, mode: int, sentence: str) -> None:
    with pytest.raises(StartupError, match=sentence) as caught:
        read_token(token_file(tmp_path, text, mode))
    assert text not in str(caught.value)


def test_a_missing_token_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="cannot be read"):
        read_token(tmp_path / "none")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_a_token_of_somebody_else_is_refused(tmp_path: Path) -> None:
    path = token_file(tmp_path)
    os.chown(path, 12345, -1)
    with pytest.raises(StartupError, match="may be read by others"):
        read_token(path)

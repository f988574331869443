"""The verdict on anybody's message, and the command that prints it."""

import errno
import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flexpact.cli import build
from openadr import Poll, Response, encode
from openadr.checker import Outcome, check_bytes
from openadr.response import EiResponse

VECTORS = Path(__file__).parents[1] / "vectors"
A = 'xmlns="http://openadr.org/oadr-2.0a/2012/07"'
OTHERS = (
    'xmlns:ei="http://docs.oasis-open.org/ns/energyinterop/201110" '
    'xmlns:pyld="http://docs.oasis-open.org/ns/energyinterop/201110/payloads" '
    'xmlns:xcal="urn:ietf:params:xml:ns:icalendar-2.0" '
    'xmlns:strm="urn:ietf:params:xml:ns:icalendar-2.0:stream" '
    'xmlns:emix="http://docs.oasis-open.org/ns/emix/2011/06"'
)
SIGNAL = """<ei:eiEventSignal><strm:intervals><ei:interval>
 <xcal:duration><xcal:duration>PT1H</xcal:duration></xcal:duration><xcal:uid><xcal:text>0</xcal:text></xcal:uid>
 <ei:signalPayload><ei:payloadFloat><ei:value>2</ei:value></ei:payloadFloat></ei:signalPayload>
 </ei:interval></strm:intervals>
 <ei:signalName>simple</ei:signalName><ei:signalType>product</ei:signalType><ei:signalID>0</ei:signalID>
 <ei:currentValue><ei:payloadFloat><ei:value>0</ei:value></ei:payloadFloat></ei:currentValue></ei:eiEventSignal>"""
EVENT_A = f"""<oadrDistributeEvent {A} {OTHERS}><pyld:requestID>r</pyld:requestID><ei:vtnID>vtn</ei:vtnID>
<oadrEvent><ei:eiEvent><ei:eventDescriptor><ei:eventID>e</ei:eventID><ei:modificationNumber>0</ei:modificationNumber>
<ei:eiMarketContext><emix:marketContext>http://a.example</emix:marketContext></ei:eiMarketContext>
<ei:createdDateTime>2026-07-01T09:00:00Z</ei:createdDateTime><ei:eventStatus>far</ei:eventStatus></ei:eventDescriptor>
<ei:eiActivePeriod><xcal:properties><xcal:dtstart><xcal:date-time>2026-07-01T17:00:00Z</xcal:date-time></xcal:dtstart>
<xcal:duration><xcal:duration>PT1H</xcal:duration></xcal:duration>
<ei:x-eiNotification><xcal:duration>PT1H</xcal:duration></ei:x-eiNotification></xcal:properties><xcal:components/>
</ei:eiActivePeriod><ei:eiEventSignals>{SIGNAL}</ei:eiEventSignals><ei:eiTarget/></ei:eiEvent>
<oadrResponseRequired>always</oadrResponseRequired></oadrEvent></oadrDistributeEvent>"""


def verdict_a(text: str) -> tuple[str, str | None, str]:
    verdict = check_bytes(text.encode())
    assert verdict.profile == "2.0a"
    return verdict.outcome, verdict.rule, verdict.text


def test_what_we_write_is_ok_without_a_word() -> None:
    verdict = check_bytes(encode(Poll("ven-1")))
    assert (verdict.outcome, verdict.profile, verdict.message) == (Outcome.OK, "2.0b", "oadrPoll")
    assert (verdict.rule, verdict.text) == (None, "")


def test_a_warning_leaves_a_message_ok() -> None:
    verdict = check_bytes((VECTORS / "accepted" / "times_without_z.xml").read_bytes())
    assert verdict.outcome is Outcome.OK
    for rule in ("GEN-03", "GEN-04", "GEN-05", "GEN-06"):
        assert f"{rule} (warning)" in verdict.text


def test_a_body_beyond_the_limits_is_malformed() -> None:
    assert check_bytes(b"<" + b"a" * 600 + b"/>").outcome is Outcome.MALFORMED
    assert check_bytes(b"<a>" + b"<b/>" * 30_000 + b"</a>").outcome is Outcome.MALFORMED


def test_an_identifier_beyond_the_limit_is_malformed() -> None:
    verdict = check_bytes(encode(Poll("v" * 129)))
    assert (verdict.outcome, verdict.message) == (Outcome.MALFORMED, "oadrPoll")


def test_an_event_of_2_0a_is_checked_by_its_own_profile() -> None:
    assert verdict_a(EVENT_A) == ("ok", None, "")


CURRENT = SIGNAL[SIGNAL.index("<ei:currentValue>") : SIGNAL.index("</ei:eiEventSignal>")]
TARGET = "<ei:eiTarget/></ei:eiEvent>"


@pytest.mark.parametrize(
    ("old", "new", "outcome", "named"),
    [
        ("<ei:vtnID>vtn</ei:vtnID>", "", "schema", "ei:vtnID"),
        ("<xcal:uid><xcal:text>0</xcal:text></xcal:uid>", "", "schema", "xcal:uid is missing"),
        (CURRENT, "", "schema", "currentValue"),
        (f"{A} ", f'{A} ei:schemaVersion="2.0a" ', "schema", "schemaVersion"),
        ("<ei:signalName>", "<ei:eiTarget/><ei:signalName>", "schema", "ei:eiTarget"),
        (
            TARGET,
            TARGET.replace("/>", "><ei:groupName>g</ei:groupName></ei:eiTarget>"),
            "schema",
            "ei:groupName",
        ),
        (">simple<", ">Bid price<", "rule", "A20-04"),
        (SIGNAL, SIGNAL + SIGNAL.replace("signalID>0<", "signalID>1<"), "rule", "A20-04"),
        ("<ei:value>2<", "<ei:value>7<", "rule", "EVT-24"),
    ],
)
def test_what_2_0a_does_not_allow_is_named(old: str, new: str, outcome: str, named: str) -> None:
    assert old in EVENT_A
    found, rule, text = verdict_a(EVENT_A.replace(old, new, 1))
    assert found == outcome
    assert named in text
    assert (rule is not None) == (outcome == "rule")


def test_messages_that_2_0a_does_not_have_are_named() -> None:
    assert verdict_a(f"<oadrPoll {A} {OTHERS}><ei:venID>v</ei:venID></oadrPoll>")[0] == "schema"
    response = "<ei:responseCode>200</ei:responseCode><pyld:requestID/>"
    answer = f"<oadrResponse {A} {OTHERS}><ei:eiResponse>{response}</ei:eiResponse>"
    assert verdict_a(f"{answer}</oadrResponse>") == ("ok", None, "")
    assert "ei:venID" in verdict_a(f"{answer}<ei:venID>v</ei:venID></oadrResponse>")[2]


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(build(["openadr"]), ["openadr", "check", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.output


def rows(output: str) -> list[dict[str, str | None]]:
    return [json.loads(line) for line in output.splitlines()]


def test_a_directory_is_walked_one_json_line_for_each_file(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "poll.XML").write_bytes(encode(Poll("v")))
    (tmp_path / "answer.xml").write_bytes(encode(Response(response=EiResponse.ok())))
    (tmp_path / "notes.txt").write_text("not a message")
    status, output = run(str(tmp_path), "--json")
    assert status == 0
    found = rows(output)
    assert [list(row) for row in found] == [["file", "profile", "message", "verdict", "rule", "text"]] * 2
    assert [row["message"] for row in found] == ["oadrResponse", "oadrPoll"]


def test_one_file_that_is_not_ok_gives_exit_status_1() -> None:
    status, output = run(str(VECTORS / "poll.xml"), str(VECTORS / "refused" / "html.xml"), "--json")
    assert status == 1
    assert [row["verdict"] for row in rows(output)] == ["ok", "schema"]


def test_what_cannot_be_read_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "loop.xml").symlink_to(tmp_path / "loop.xml")
    paths = (tmp_path / "none.xml", tmp_path / ("n" * 300), tmp_path / "empty", tmp_path)
    status, output = run(*map(str, paths), "--json")
    assert status == 1
    missing, long, empty, loop = (row["text"] for row in rows(output))
    assert long == "cannot be read: File name too long"
    assert missing == "cannot be read: No such file or directory"
    assert empty == "there is no *.xml file in this directory"
    assert loop is not None
    assert loop.startswith("cannot be read: ")


def test_a_pipe_in_a_directory_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.xml")
    (tmp_path / "poll.xml").write_bytes(encode(Poll("v")))
    status, output = run(str(tmp_path), "--json")
    assert status == 1
    assert [row["text"] for row in rows(output)] == ["cannot be read: it is no regular file", ""]


def test_a_directory_that_cannot_be_listed_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "poll.xml").write_bytes(encode(Poll("v")))
    shut = tmp_path / "shut"
    shut.mkdir()
    list_it = os.scandir

    def refuse(path: str) -> object:
        if path == str(shut):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return list_it(path)

    monkeypatch.setattr(os, "scandir", refuse)  # who runs the tests may list everything
    status, output = run(str(tmp_path), "--json")
    assert status == 1
    first, second = rows(output)
    assert (first["file"], first["text"]) == (str(shut), "cannot be read: Permission denied")
    assert second["verdict"] == "ok"


def test_a_file_whose_name_is_no_text_harms_no_terminal(tmp_path: Path) -> None:
    for name in (b"\x1b[31mred.xml", b"\xff.xml"):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(encode(Poll("v")))
    status, output = run(str(tmp_path), "--json")
    assert status == 0
    assert [str(row["file"]).rsplit("/", 1)[1] for row in rows(output)] == [
        "\\u001b[31mred.xml",
        "\\udcff.xml",
    ]
    status, output = run(str(tmp_path))
    assert status == 0
    assert "\x1b[31mred" not in output


def test_a_file_of_any_size_is_read_up_to_the_limit(tmp_path: Path) -> None:
    large = tmp_path / "large.xml"
    with large.open("wb") as file:
        file.truncate(10**9)
    status, output = run(str(large), "--json")
    assert status == 1
    assert "the limit is 1048576" in output


def test_people_get_a_table(tmp_path: Path) -> None:
    odd = tmp_path / "[bold]odd.xml"
    odd.write_bytes(encode(Poll("v")))
    status, output = run(str(odd), str(VECTORS / "refused" / "html.xml"))
    assert status == 1
    assert "verdict" in output
    assert "malformed" not in output
    assert "[bold]" in output.replace("\n", "").replace(" ", "").replace("│", "")

"""Signed checkpoints: compatible with other transparency logs, and refused in every other form."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ledger.checkpoint import (
    COSIGNATURE,
    Checkpoint,
    Cosignature,
    SigningKey,
    VerifierKey,
    from_base64,
    parse_count,
)
from ledger.errors import KeyFileError, MalformedError, VerificationError

# The key pair and signed note that the documentation of Go's note package shows.
GO_VERIFIER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_SIGNER = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
GO_TEXT = (
    b"If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
)
GO_SIGNATURE = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="

KEY = SigningKey("example.org/log", bytes(range(32)))
ROOT = bytes(range(32, 64))
SIGNED = Checkpoint.sign(1200, ROOT, KEY)
TEXT = SIGNED.text()
WITNESS = SigningKey("witness.example", bytes(range(1, 33)), COSIGNATURE)
WITNESSED = Cosignature.sign(SIGNED, WITNESS, datetime(2026, 1, 20, 18, 0, 0, 999_999, tzinfo=UTC))
AFTER_ALL_TIME = replace(WITNESSED, time=2**63).line()


def test_a_note_of_another_implementation_verifies() -> None:
    raw = base64.b64decode(GO_SIGNATURE)
    key = VerifierKey.parse(GO_VERIFIER)
    key.verify(GO_TEXT, raw[4:])
    assert raw[:4].hex() == GO_VERIFIER.split("+")[1]


def test_a_key_of_another_implementation_signs_alike(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.touch(mode=0o600)
    path.write_text(GO_SIGNER + "\n")
    key = SigningKey.load(path)
    assert str(key.verifier) == GO_VERIFIER
    assert key.sign(GO_TEXT) == base64.b64decode(GO_SIGNATURE)[4:]


def test_text_is_a_c2sp_checkpoint() -> None:
    body, _, signatures = TEXT.partition("\n\n")
    assert body == f"example.org/log\n1200\n{base64.b64encode(ROOT).decode()}"
    assert signatures.startswith("— example.org/log ")
    assert signatures.endswith("\n")


def test_checkpoint_is_read_back_and_verifies() -> None:
    assert Checkpoint.parse(TEXT) == SIGNED
    SIGNED.verify(KEY.verifier)


def test_a_changed_checkpoint_does_not_verify() -> None:
    changed = Checkpoint(SIGNED.origin, 1201, ROOT, SIGNED.key_id, SIGNED.signature)
    with pytest.raises(VerificationError, match="does not belong to this text"):
        changed.verify(KEY.verifier)


def test_another_logs_checkpoint_is_refused_with_both_names() -> None:
    other = SigningKey.generate("example.org/other")
    with pytest.raises(VerificationError, match=r"expected example\.org/other, got example\.org/log"):
        SIGNED.verify(other.verifier)


def test_another_key_of_the_same_name_is_refused() -> None:
    with pytest.raises(VerificationError, match="another key"):
        SIGNED.verify(SigningKey.generate("example.org/log").verifier)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        pytest.param(TEXT[:-1], "not origin, size", id="no newline at the end"),
        pytest.param(TEXT + "\n", "not origin, size", id="a newline more"),
        pytest.param(TEXT.replace("\n1200\n", "\n1200\n\n"), "not origin, size", id="a blank line more"),
        pytest.param(TEXT.replace("\n\n", "\nextension\n\n"), "not origin, size", id="an extension line"),
        pytest.param(TEXT + TEXT.split("\n")[4] + "\n", "76 bytes, got 68", id="a second line of the log"),
        pytest.param(
            TEXT + WITNESSED.line() + "\n" + WITNESSED.line() + "\n", "two lines", id="a witness twice"
        ),
        pytest.param(TEXT + WITNESSED.line() * 2 + "\n", "not a signature line", id="two lines in one"),
        pytest.param(TEXT + (WITNESSED.line() + "\n") * 16, "at most 16, got 17", id="seventeen lines"),
        pytest.param(TEXT + AFTER_ALL_TIME + "\n", "time of a cosignature", id="a time above 2^63"),
        pytest.param(
            TEXT.replace("\n\n", f"\n\n{WITNESSED.line()}\n"),
            "first signature line is not",
            id="another first",
        ),
        pytest.param(TEXT.replace("1200", "01200"), "plain decimal", id="a leading zero"),
        pytest.param(TEXT.replace("1200", "+1200"), "plain decimal", id="a sign"),
        pytest.param(
            TEXT.replace("1200", "\uff11\uff12\uff10\uff10"), "plain decimal", id="digits of another script"
        ),
        pytest.param(TEXT.replace("1200", "9" * 19), "above", id="a size above 2^63"),
        pytest.param(TEXT.replace("1200", "9" * 5000), "plain decimal", id="a size of 5000 digits"),
        pytest.param(TEXT.replace("1200", ""), "plain decimal", id="no size"),
        pytest.param(TEXT.replace("—", "-"), "not a signature line", id="another dash"),
        pytest.param(
            TEXT.replace("— example.org/log", "— example.org/loh"), "line is not the log's", id="another name"
        ),
        pytest.param(
            TEXT.replace("example.org/log", "example.org log"), "without space", id="a space in the name"
        ),
        pytest.param(TEXT.replace("example.org/log", ""), "without space", id="no name"),
        pytest.param(TEXT.replace("ICEiIyQl", "ICEiIyQ"), "not base64", id="a letter of the root lost"),
        pytest.param(TEXT.replace("Pj8=", "Pj9="), "one base64 form", id="bits that base64 ignores"),
        pytest.param(TEXT.replace("Pj8=", "Pj8=Pj8="), "base64", id="padding in the middle"),
        pytest.param(TEXT.replace("ICEi", "\rICEi"), "base64", id="a carriage return"),
        pytest.param(TEXT.replace("ICEiIyQl", ""), "wrong length", id="a root that is too short"),
    ],
)
def test_a_checkpoint_in_another_form_is_refused(changed: str, reason: str) -> None:
    assert changed != TEXT
    with pytest.raises(MalformedError, match=reason):
        Checkpoint.parse(changed)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("a+b", "not of the form", id="a part is missing"),
        pytest.param(GO_VERIFIER.replace("c74f", "c74e"), "do not belong together", id="another id"),
        pytest.param(GO_VERIFIER.replace("Peter", "Poter"), "do not belong together", id="another name"),
        pytest.param(GO_VERIFIER.replace("+ARpc", "+BRpc"), "do not belong together", id="another algorithm"),
        pytest.param(GO_VERIFIER[:-4], "wrong length", id="a short key"),
        pytest.param(GO_VERIFIER.replace("c74f", "C74F"), "do not belong together", id="capitals"),
        pytest.param("a b+00000000+AA==", "wrong length", id="a space in the name"),
        pytest.param(
            str(replace(VerifierKey.parse(GO_VERIFIER), kind=b"\x06")),
            "kind is not known: expected 01 or 04, got 06",
            id="a kind that nobody knows",
        ),
    ],
)
def test_a_key_whose_parts_do_not_fit_is_refused(text: str, reason: str) -> None:
    with pytest.raises(MalformedError, match=reason):
        VerifierKey.parse(text)


@pytest.mark.parametrize("name", ["", "a b", "a+b", 'a"b', "a\\b", "a\n", "a\u2003b"])
def test_a_name_that_formats_cannot_carry_is_refused(name: str) -> None:
    with pytest.raises(MalformedError):
        SigningKey.generate(name)


def test_base64_with_foreign_letters_is_refused() -> None:
    with pytest.raises(MalformedError, match="not base64"):
        from_base64("x", "AA*=")
    with pytest.raises(MalformedError, match="not base64"):
        from_base64("x", "é")


def test_the_largest_number_is_taken() -> None:
    assert parse_count("x", str(2**63 - 1)) == 2**63 - 1


def test_a_saved_key_is_private_and_read_back(tmp_path: Path) -> None:
    KEY.save(tmp_path / "key")
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert SigningKey.load(tmp_path / "key") == KEY


# The lines that C2SP's tlog-cosignature shows as its example.
C2SP_LOG = "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8="
C2SP_WITNESS = (
    "jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA=="
)
C2SP_WITNESSED = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    f"— example.com/behind-the-sofa {C2SP_LOG}\n— witness.example.com/w1 {C2SP_WITNESS}\n"
)


def test_a_witnessed_checkpoint_of_another_implementation_is_read() -> None:
    read = Checkpoint.parse(C2SP_WITNESSED)
    (line,) = read.cosignatures
    assert (line.name, line.key_id.hex(), line.time) == ("witness.example.com/w1", "8d66cf3f", 1_679_315_147)
    assert read.text() == C2SP_WITNESSED


def test_a_cosignature_signs_time_and_checkpoint() -> None:
    signed = b"cosignature/v1\ntime 1768932000\n" + SIGNED.body()
    WITNESS.verifier.verify(signed, WITNESSED.signature)
    WITNESSED.verify(SIGNED, WITNESS.verifier)
    assert WITNESSED.key_id == WITNESS.verifier.id != replace(WITNESS, kind=b"\x01").verifier.id


@pytest.mark.parametrize(
    "changed", [replace(WITNESSED, time=WITNESSED.time + 1), replace(WITNESSED, signature=bytes(64))]
)
def test_a_changed_cosignature_does_not_verify(changed: Cosignature) -> None:
    with pytest.raises(VerificationError, match="witness: the cosignature does not belong"):
        changed.verify(SIGNED, WITNESS.verifier)


def test_cosignatures_keep_their_order_and_a_later_one_replaces_the_earlier() -> None:
    others = [SigningKey.generate(f"witness.example/{number}", COSIGNATURE) for number in range(14)]
    at = datetime(2026, 1, 21, tzinfo=UTC)
    full = SIGNED.with_cosignature(WITNESSED)
    for key in others:
        full = full.with_cosignature(Cosignature.sign(SIGNED, key, at))
    assert [line.name for line in full.cosignatures] == ["witness.example", *(key.name for key in others)]
    assert Checkpoint.parse(full.text()) == full
    with pytest.raises(ValueError, match="at most 16"):
        full.with_cosignature(Cosignature.sign(SIGNED, SigningKey.generate("w", COSIGNATURE), at))
    later = full.with_cosignature(Cosignature.sign(SIGNED, WITNESS, at))
    assert [line.name for line in later.cosignatures] == [*(key.name for key in others), "witness.example"]


def test_a_key_signs_what_is_of_its_kind() -> None:
    with pytest.raises(ValueError, match="a log signs with a key of its own kind"):
        Checkpoint.sign(1200, ROOT, WITNESS)
    with pytest.raises(ValueError, match="a witness signs with a key of its own kind"):
        Cosignature.sign(SIGNED, KEY, datetime(2026, 1, 20, tzinfo=UTC))


def test_a_witness_key_is_kept_and_is_no_logs(tmp_path: Path) -> None:
    WITNESS.save(tmp_path / "key")
    assert SigningKey.load(tmp_path / "key", COSIGNATURE) == WITNESS
    with pytest.raises(KeyFileError, match="holds the key of a witness, not of a log"):
        SigningKey.load(tmp_path / "key")


def test_a_key_is_never_shown() -> None:
    assert KEY.seed.hex() not in repr(KEY)


def test_a_key_file_is_never_overwritten(tmp_path: Path) -> None:
    KEY.save(tmp_path / "key")
    with pytest.raises(KeyFileError, match="exists already"):
        KEY.save(tmp_path / "key")


def test_a_key_file_in_no_directory_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="cannot be written"):
        KEY.save(tmp_path / "none" / "key")
    with pytest.raises(KeyFileError, match="cannot be read"):
        SigningKey.load(tmp_path / "none")


@pytest.mark.parametrize(
    ("content", "mode", "reason"),
    [
        pytest.param(GO_SIGNER.encode(), 0o644, "read by others", id="open to all"),
        pytest.param(b"", 0o600, "exactly one key", id="empty"),
        pytest.param(b"a\nb\n", 0o600, "exactly one key", id="two lines"),
        pytest.param(b"\xff\n", 0o600, "not hold text", id="no text"),
        pytest.param(b"a" * 5000, 0o600, "exactly one key", id="too long"),
        pytest.param(GO_VERIFIER.encode(), 0o600, "no log key", id="a public key"),
        pytest.param(
            GO_SIGNER.replace("Peter", "Poter").encode(), 0o600, "belong together", id="another name"
        ),
    ],
)
def test_a_file_without_a_usable_key_is_refused(
    content: bytes, mode: int, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(mode)
    with pytest.raises(KeyFileError, match=reason):
        SigningKey.load(path)

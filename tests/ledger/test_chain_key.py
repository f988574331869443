"""The file of an account's key: its one form, who may read it, and what it signs."""

from __future__ import annotations

from pathlib import Path

import pytest
from eth_account import Account
from web3.types import TxParams

from ledger.chain_key import ORDER, ChainKey
from ledger.errors import KeyFileError, TokenError

SECRET = "4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318"
TRANSACTION: TxParams = {  # type: ignore[typeddict-item] # an address as text
    "chainId": 20_260_002,
    "nonce": 7,
    "to": "0x" + "11" * 20,
    "value": 0,
    "gas": 100_000,
    "data": b"\x01\x02",
    "maxFeePerGas": 3,
    "maxPriorityFeePerGas": 1,
}


def written(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "chain.key"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_transaction_is_signed_as_others_sign_it(tmp_path: Path) -> None:
    key, other = ChainKey.load(written(tmp_path, SECRET + "\n")), Account.from_key(SECRET)
    assert f"0x{key.address.hex()}" == other.address.lower()
    sender = {**TRANSACTION, "from": other.address}
    assert key.sign(sender) == bytes(other.sign_transaction(TRANSACTION).raw_transaction)  # type: ignore[arg-type] # the same fields


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(KeyFileError, match=r"chain\.key can be read by others; make it mode 0600"):
        ChainKey.load(written(tmp_path, SECRET, mode))


@pytest.mark.parametrize(
    "text",
    [
        SECRET[1:],
        SECRET + "0",
        "0x" + SECRET,
        SECRET[:62] + "zz",
        SECRET[:60] + "    ",
        "00" * 32,
        f"{ORDER:x}",
    ],
    ids=["short", "long", "0x", "no digits", "spaces", "zero", "the order"],
)
def test_a_file_of_another_form_is_refused_and_not_told(tmp_path: Path, text: str) -> None:
    with pytest.raises(KeyFileError, match="holds no chain key of 64 hexadecimal digits") as refused:
        ChainKey.load(written(tmp_path, text))
    assert SECRET[4:20] not in f"{refused.value} {refused.value.__cause__}"


class Wrong:
    """A signer whose signatures are another key's."""

    def __init__(self, folder: Path) -> None:
        self._real = ChainKey.load(written(folder, SECRET))._signer
        self.public = bytes(64)

    def sign(self, octets: bytes) -> bytes:
        return self._real.sign(octets)


def test_a_signature_that_leads_elsewhere_is_never_sent(tmp_path: Path) -> None:
    with pytest.raises(TokenError, match="made a signature that is not its own"):
        ChainKey(Wrong(tmp_path)).sign(TRANSACTION)

"""A real PKCS#11 token for tests: SoftHSM2, whose module reads its settings once in a process."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pkcs11

from ledger.keyfile import write_secret
from ledger.token_uri import TokenUri

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
LABEL, PIN = "flexpact", "84120937"


@dataclass(frozen=True)
class SoftToken:
    """The tokens `flexpact` (twice: `twin`) and `other` in a folder."""

    folder: Path

    @property
    def settings(self) -> Path:
        return self.folder / "softhsm2.conf"

    @property
    def pin_file(self) -> Path:
        return self.folder / "pin"

    @property
    def environment(self) -> dict[str, str]:
        """What a program needs in order to see these tokens."""
        return {**os.environ, "SOFTHSM2_CONF": str(self.settings)}

    def text(self, label: str, **changes: str) -> str:
        """The URI of the key with that label."""
        parts = {"token": LABEL, "module": str(MODULE), "pin": f"file:{self.pin_file}", **changes}
        return (
            f"pkcs11:token={parts['token']};object={label}"
            f"?module-path={parts['module']}&pin-source={parts['pin']}"
        )

    @contextmanager
    def taken_away(self) -> Iterator[None]:
        """As if nobody had plugged them in, until the end."""
        shutil.move(self.folder / "tokens", self.folder / "gone")
        (self.folder / "tokens").mkdir()
        lose_sessions()
        yield
        shutil.rmtree(self.folder / "tokens")
        shutil.move(self.folder / "gone", self.folder / "tokens")
        lose_sessions()

    def uri(self, label: str, **changes: str) -> TokenUri:
        return TokenUri.parse(self.text(label, **changes))


def make(folder: Path) -> SoftToken:
    """Fresh tokens in that folder, and the file of their PIN."""
    token = SoftToken(folder)
    (folder / "tokens").mkdir()
    token.settings.write_text(f"directories.tokendir = {folder}/tokens\nlog.level = ERROR\n")
    write_secret(token.pin_file, PIN)
    for label in (LABEL, "other", "twin", "twin"):
        subprocess.run(
            ["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", PIN],
            env=token.environment,
            check=True,
            capture_output=True,
        )
    return token


def lose_sessions() -> None:
    """What a restart of the module does: nobody is logged in any more, no handle holds."""
    pkcs11.lib(str(MODULE)).reinitialize()

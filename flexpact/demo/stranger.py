"""A stranger's VEN in a process of its own: openleadr's client, which shares no line with ours.

It registers, opts in to every event, and reports its energy every few seconds.
"""

import asyncio
import signal
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from openleadr import OpenADRClient, enable_default_logging

REPORT_EVERY = timedelta(seconds=10)
_IDLE_WH = 20.0  # of ten seconds


async def main(vtn_url: str, name: str, pki: Path) -> None:
    """Run until SIGTERM."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    client = OpenADRClient(
        ven_name=name,
        vtn_url=f"{vtn_url}/OpenADR2/Simple/2.0b",
        cert=str(pki / f"{name}.pem"),
        key=str(pki / f"{name}.key"),
        ca_file=str(pki / "ca.pem"),
        disable_signature=True,
        show_fingerprint=False,
        allow_jitter=False,
    )
    client.add_report(
        callback=_energy_wh,
        resource_id=name,
        r_id="load",
        report_specifier_id="telemetry",
        measurement="energyReal",
        unit="Wh",
        sampling_rate=REPORT_EVERY,
        report_duration=timedelta(hours=1),
    )
    client.add_handler("on_event", _opt_in)
    client.add_handler("on_update_event", _opt_in)
    await client.run()
    await stop.wait()
    await client.stop()


async def _energy_wh() -> float:
    return _IDLE_WH


async def _opt_in(event: dict[str, Any]) -> str:
    return "optIn"


if __name__ == "__main__":
    enable_default_logging()
    asyncio.run(main(sys.argv[1], sys.argv[2], Path(sys.argv[3])))

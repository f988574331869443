"""A watch over a real database, whose surroundings a test sets as it likes."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from sqlalchemy import insert, update

from aggregator import alarm
from aggregator.alarm import Alarm
from aggregator.alarm_fleet import Fleet
from aggregator.alarm_platform import Machine, Trouble
from aggregator.alarm_watch import AlarmWatch
from aggregator.dashboard.alarm_words import described
from aggregator.dashboard.wording import Wording
from aggregator.notice_settings import NoticeSettings
from aggregator.notifier import Notifier
from tests.aggregator.conftest import START, HandClock
from vtn.schema import ven_table
from vtn.store import Database

IDLE = {"status": "idle", "text": "", "alarm": False, "behind_since": None}


@dataclass
class Post:
    """The watch, and all that it looks at."""

    db: Database
    clock: HandClock = field(default_factory=lambda: HandClock(START))
    notices: NoticeSettings = field(default_factory=NoticeSettings)
    chain: dict[str, Any] = field(default_factory=lambda: dict(IDLE))
    witnesses: list[Trouble] = field(default_factory=list)
    tasks: list[Trouble] = field(default_factory=list)
    free_bytes: int = 2**40
    contacts: dict[str, datetime] = field(default_factory=dict)
    skews: dict[str, timedelta] = field(default_factory=dict)
    certificates: dict[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        machine = Machine(
            chain_state=lambda: self.chain,
            witnesses=lambda: self.witnesses,
            tasks=lambda: self.tasks,
            free_bytes=lambda: self.free_bytes,
            started_at=START - timedelta(days=1),
            checkpoint_period=timedelta(minutes=15),
            certificates=self.certificates,
        )
        words = described(lambda: Wording("en", ZoneInfo("UTC"), self.clock()))
        self.notifier = Notifier(self.notices, "test.example/log", words, lambda: "https://here", self.clock)
        self.watch = AlarmWatch(machine, self._fleet, self.notifier, clock=self.clock, sleep=self.clock.sleep)

    async def look(self, **later: float) -> list[Alarm]:
        """Let time pass, look, and give the open alarms; known nodes have spoken meanwhile."""
        passed = timedelta(**later)
        await self.clock.move(self.clock.now + passed)
        self.contacts = {ven_id: at + passed for ven_id, at in self.contacts.items()}
        await self.watch.look(self.db)
        async with self.db.read() as conn:
            return await alarm.open_alarms(conn)

    async def node(self, name: str, **columns: Any) -> str:
        """A registered node that has just spoken."""
        row = {
            "ven_id": name,
            "ven_name": name,
            "enrolled_at": START,
            "report_only": False,
            "registration_id": f"r-{name}",
            "registered_at": START,
        }
        await self.write(insert(ven_table).values(row | columns))
        self.contacts[name] = self.clock.now
        return name

    async def suspend(self, name: str) -> None:
        """The node is not to be heard of any more."""
        await self.write(update(ven_table).where(ven_table.c.ven_id == name).values(suspended_at=START))

    async def write(self, *statements: Any) -> None:
        """Change the database as somebody else would."""
        async with self.db.write() as conn:
            for statement in statements:
                await conn.execute(statement)

    def _fleet(self) -> Fleet:
        return Fleet(self.contacts, self.skews, 10, 60.0, timedelta(hours=2))


def certificate_file(path: Path, ends_at: datetime) -> Path:
    """A certificate that ends then."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(START - timedelta(days=365)).not_valid_after(ends_at)
    path.write_bytes(made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return path

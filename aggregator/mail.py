"""Notices as mail, by the server that the TOML names."""

from __future__ import annotations

import ssl
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime

import aiosmtplib

from aggregator.notice_settings import MailSettings, Security
from aggregator.webhook import BarredError, UndeliveredError

TIMEOUT_S = 20.0
SHOWN = 200


class Mailer:
    """Sends notices to mail addresses."""

    def __init__(self, settings: MailSettings | None) -> None:
        self._settings = settings
        self._password = settings.password() if settings else None

    async def send(self, to: str, notice_id: str, subject: str, text: str, now: datetime) -> None:
        """Hand one mail to the server; UndeliveredError says in a sentence why it was not taken."""
        settings = self._settings
        if settings is None:
            raise BarredError("the settings file has no [notices.mail]")
        message = EmailMessage()
        message["From"], message["To"] = settings.sender, to
        message["Subject"] = " ".join(subject.split())[:SHOWN]
        message["Date"] = format_datetime(now)
        message["Message-ID"] = f"<{notice_id}@{settings.sender.rpartition('@')[2]}>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(text)
        tls = settings.security is not Security.NONE
        context = ssl.create_default_context(cafile=settings.ca_file) if tls else None
        try:
            await aiosmtplib.send(
                message,
                hostname=settings.host,
                port=settings.port,
                username=settings.user,
                password=self._password,
                use_tls=settings.security is Security.TLS,
                start_tls=settings.security is Security.STARTTLS,
                tls_context=context,
                timeout=TIMEOUT_S,
            )
        except (aiosmtplib.SMTPException, OSError, ssl.SSLError) as error:
            raise UndeliveredError(f"{type(error).__name__}: {error}"[:SHOWN]) from error

"""Who asks: a signed-in user or an API token, found once for each request."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from aggregator.access.permission import Permission, Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """`scope` are the ven_ids that a prosumer's account is for and `home` the home behind it; both are None
    for whoever may see the fleet. `csrf` is the token that every form of the session carries, and
    `factor_at` when the second factor was last given; tokens of the API have neither.
    """

    user_id: str | None = None  # None: nobody has signed in
    name: str = ""
    role: Role | None = None
    permissions: frozenset[Permission] = field(default=frozenset({Permission.ANYBODY}))
    scope: frozenset[str] | None = None
    home: str | None = None
    session_id: str | None = None
    token_id: str | None = None
    csrf: str = ""
    factor_at: datetime | None = None
    language: str | None = None  # en, de, ko; None: what the browser asks for
    time_zone: str | None = None  # None: the programme's

    @property
    def signed_in(self) -> bool:
        """Whether it is known who asks."""
        return self.user_id is not None

    def may(self, permission: Permission) -> bool:
        """Whether the permission is granted."""
        return permission in self.permissions


NOBODY = Principal()

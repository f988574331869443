"""Of a VEN in the operator's API: whether it signs, and whether it must."""

from __future__ import annotations

from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncConnection

from vtn import signature
from vtn.api_route import Answer, Body
from vtn.registration import Ven


class SignatureView(Answer):
    """What holds for a VEN's signatures."""

    signs: bool = Field(description="What it does not sign is ignored.")
    signature_required: bool
    signature_leniency: bool
    report_signature_required: bool = Field(description="Its reports are ignored unless they are signed.")


class SignatureBody(Body):
    """What the operator may set of them; what is left out stays."""

    signature_required: bool | None = Field(
        default=None, description="Ignore what it does not sign; false ends what it said when it registered."
    )
    signature_leniency: bool | None = Field(
        default=None, description="Take its signatures with exclusive C14N or without signed ReplayProtect."
    )
    report_signature_required: bool | None = Field(
        default=None, description="Ignore its reports without a signature over their bytes, or in the XML."
    )


def view(ven: Ven) -> dict[str, object]:
    """The fields of `SignatureView`."""
    return {
        "signs": ven.signs,
        "signature_required": ven.signature_required,
        "signature_leniency": ven.signature_leniency,
        "report_signature_required": ven.report_signature_required,
    }


async def change(conn: AsyncConnection, ven_id: str, body: SignatureBody) -> None:
    """Set what the body names."""
    if body.signature_required is not None:
        await signature.require(conn, ven_id, required=body.signature_required)
    if body.signature_leniency is not None:
        await signature.set_leniency(conn, ven_id, leniency=body.signature_leniency)
    if body.report_signature_required is not None:
        await signature.require_reports(conn, ven_id, required=body.report_signature_required)

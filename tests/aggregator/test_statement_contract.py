"""A statement says what the contract pays: what it waives, what its arbiter decides, and what differs."""

from datetime import timedelta
from typing import Any

from aggregator.statement_contract import check_settlements
from ledger import offline
from ledger.verify import Status, Step
from tests.aggregator.agreed import WINDOW_S, Agreed
from tests.aggregator.conftest import END, START, Platform


async def half_delivered_beside_a_suspension(agreed: Agreed, agreement_id: str) -> list[dict[str, Any]]:
    """The statements of the first node, which owes a penalty that the contract waives."""
    platform = agreed.platform
    platform.boxes["node-1"].obedience = 0.5
    await platform.ask(3)
    await platform.clock.move(START + timedelta(hours=14, minutes=8))
    await agreed.act("arbiter", "suspend", bytes.fromhex(agreement_id), 1)
    await platform.jump(END)
    await platform.settled(2)
    assert (await platform.post("/seal", {"timeout_s": 60}))["complete"]
    return await revisions(platform)


async def revisions(platform: Platform) -> list[dict[str, Any]]:
    found = (await platform.get("/statements"))["statements"]
    return [one for one in found if one["ven_id"] == platform.boxes["node-1"].ven_id]


def compared(platform: Platform) -> Step:
    with offline.reading(platform.settings.database) as conn:
        return check_settlements(conn)


async def test_a_penalty_that_the_contract_waives_goes_from_statement_shares_and_balance(
    agreed: Agreed,
) -> None:
    agreement_id = await agreed.agree()
    platform = agreed.platform
    first, second = await half_delivered_beside_a_suspension(agreed, agreement_id)
    assert first["penalty_minor"] > 0 == second["penalty_minor"]
    assert first["incentive_minor"] == second["incentive_minor"] == second["amount_minor"]
    assert second["detail"]["waived_minor"] == first["penalty_minor"]
    assert sum(second["detail"]["shares_minor"].values()) == second["amount_minor"] > first["amount_minor"]
    shown = await platform.get(f"/agreements/{agreement_id}")
    (event,) = shown["events"]
    assert (event["text"], event["settled"]["revision"]) == ("", 2)
    assert event["settled"]["amount_minor"] == second["amount_minor"]
    assert compared(platform) == Step(
        "settlements",
        Status.CHECKED,
        "1 statements were compared with what the contract showed of them last",
    )
    await platform.clock.move(END + timedelta(seconds=WINDOW_S + 300))
    await platform.post("/agreements/look")
    await agreed.act("node", "withdraw", bytes.fromhex(agreement_id))
    assert await agreed.balance() == second["amount_minor"]
    assert len(await revisions(platform)) == 2


async def test_a_penalty_that_the_arbiter_lets_count_is_in_the_statement_again(agreed: Agreed) -> None:
    agreement_id = await agreed.agree()
    platform = agreed.platform
    first, _ = await half_delivered_beside_a_suspension(agreed, agreement_id)
    (event,) = (await platform.get(f"/agreements/{agreement_id}"))["events"]
    await platform.post(
        f"/agreements/{agreement_id}/dispute", {"event_id": event["event_id"], "reason": "it was notified"}
    )
    ids = bytes.fromhex(agreement_id), bytes.fromhex(event["event_key"])
    await agreed.act("arbiter", "resolve", *ids, 0, first["delivered_wh"] - 100, bytes(32))
    await platform.clock.move(END + timedelta(minutes=20))
    await platform.post("/agreements/look")
    *_, third = await revisions(platform)
    assert (third["revision"], third["penalty_minor"]) == (3, first["penalty_minor"])
    assert "waived_minor" not in third["detail"]
    settled = (await platform.get(f"/agreements/{agreement_id}"))["events"][0]["settled"]
    told = compared(platform)
    assert told.status is Status.NOT_CHECKED
    for name in ("delivered_wh", "incentive_minor", "penalty_minor", "amount_minor"):
        assert f"{name} is {third[name]}, the contract has {settled[name]}" in told.text
    assert "requested_wh" not in told.text

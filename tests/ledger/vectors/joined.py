"""Evidence of a chain whose validators changed: a fifth joined the four at block 1200.

Three seals of four are a quorum before it, four of five from it on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import sha256

from coincurve import PrivateKey

from ledger.trust import ValidatorSet
from tests.ledger import evidence as made
from tests.ledger.evidence import Evidence, evidence

JOINED_AT = 1200
FIVE_KEYS = [*made.VALIDATOR_KEYS, PrivateKey(made.seed("validator 5"))]
FIVE = tuple(map(made.address, FIVE_KEYS))
FOUR = FIVE[:4]
SETS = (ValidatorSet(FOUR, 0), ValidatorSet(FIVE, JOINED_AT))
REMOVED = (*SETS, ValidatorSet(FIVE[1:], 2000))
Files = dict[str, str]


def with_sets(case: Evidence, sets: Sequence[ValidatorSet] = SETS) -> Evidence:
    """The same with these sets of validators in the trust file."""
    assert case.trust.chain is not None
    chain = replace(case.trust.chain, validators=(), validator_sets=tuple(sets))
    return replace(case, trust=replace(case.trust, chain=chain))


def at(number: int, sealers: Sequence[PrivateKey], sets: Sequence[ValidatorSet] = SETS) -> Evidence:
    """Evidence in the block of that number, which these validators sealed."""
    named = FOUR if number < JOINED_AT else FIVE
    return with_sets(evidence(sealers=sealers, number=number, validators=named), sets)


def good() -> Iterator[tuple[str, Evidence]]:
    """Evidence in which nothing fails."""
    yield "three seals of four, before a fifth joined", at(41, FIVE_KEYS[:3])
    yield "three seals of four, in the last block of the four", at(JOINED_AT - 1, FIVE_KEYS[1:4])
    yield "four seals of five, in the first block of the five", at(JOINED_AT, FIVE_KEYS[1:])
    yield "a set that begins with the block", at(41, FIVE_KEYS[:3], [ValidatorSet(FOUR, 41)])
    yield "a validator that was removed later", at(JOINED_AT, FIVE_KEYS[:4], REMOVED)
    sealed = at(41, FIVE_KEYS[:3])
    block = sealed.receipt.anchor.block().hash
    assert sealed.trust.chain is not None
    both = replace(sealed.trust.chain, header=block)
    yield "a trusted block and sets", replace(sealed, trust=replace(sealed.trust, chain=both))


def bad() -> Iterator[tuple[str, Evidence]]:
    """Evidence in its right form that proves nothing."""
    yield "three seals of five: the old quorum in a new block", at(JOINED_AT, FIVE_KEYS[:3])
    yield "two seals of four and that of the fifth, before it joined", at(41, [*FIVE_KEYS[:2], FIVE_KEYS[4]])
    yield "a removed validator's seal among three of four", at(2000, FIVE_KEYS[:3], REMOVED)
    yield "a block before the first set", at(41, FIVE_KEYS[:3], [ValidatorSet(FOUR, 42)])
    new = at(JOINED_AT, FIVE_KEYS[:3])
    # In RLP 1200 is 0x8204b0, and 1199 the same with another last byte.
    header = new.receipt.anchor.header.replace(b"\x82\x04\xb0", b"\x82\x04\xaf", 1)
    dated = replace(new.receipt, anchor=replace(new.receipt.anchor, header=header))
    yield "a new block that calls itself an old one", replace(new, receipt=dated)
    unsealed = with_sets(replace(evidence(), trust=new.trust))
    yield "no seals where sets are trusted", unsealed


def malformed() -> Iterator[tuple[str, Files]]:
    """Trust files whose sets make no sense, each with the check value of its lines."""
    base = {name: raw.decode() for name, raw in at(41, FIVE_KEYS[:3]).files().items()}

    def edited(old: str, new: str) -> Files:
        if base["trust"].count(old) != 1:
            raise ValueError(f"{old!r} is {base['trust'].count(old)} times in the trust file")
        return {**base, "trust": checked(base["trust"].replace(old, new))}

    four, five = (", ".join(f'"0x{one.hex()}"' for one in each) for each in (FOUR, FIVE))
    yield "sets out of order", edited("from_block = 0\n", "from_block = 1201\n")
    yield "two sets from one block", edited("from_block = 0\n", "from_block = 1200\n")
    yield "the same set again", edited(f"[{five}]", f"[{four}]")
    yield "an empty set", edited(f"[{five}]", "[]")
    yield "a validator twice in a set", edited(f"[{five}]", f"[{four}, {four.split(', ')[0]}]")
    yield "a set without its block", edited("from_block = 0\n", "")
    yield "a block below the first", edited("from_block = 0\n", "from_block = -1\n")
    yield "a block that is a text", edited("from_block = 0\n", 'from_block = "0"\n')
    yield "a block beyond all", edited("from_block = 1200\n", f"from_block = {2**63}\n")
    yield "an entry more in a set", edited("from_block = 0\n", "from_block = 0\nuntil_block = 9\n")
    first = f"[[chain.validators]]\nfrom_block = 0\naddresses = [{four}]\n\n"
    second = f"[[chain.validators]]\nfrom_block = 1200\naddresses = [{five}]\n"
    yield "one list and a set", edited(first + second, f'validators = ["0x00", {{addresses = [{five}]}}]\n')


def checked(text: str) -> str:
    """A trust file with the check value that belongs to its lines."""
    head, _, body = text.partition("\n\n")
    return f'{head.split(chr(10))[0]}\ncheck = "{sha256(body.encode()).hexdigest()[:16]}"\n\n{body}'

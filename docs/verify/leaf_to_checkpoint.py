"""Is this record in the log whose key I know? Needs the standard library and `cryptography`, no flexpact.

    python leaf_to_checkpoint.py RECORD RECEIPT LOG_KEY

LOG_KEY is the log's public key as its operator publishes it: name+id+key. Exit 0: the record is in the tree
whose size and root this key signed. Exit 1: it is not, for the reason that is printed. Whether the chain
holds that tree is for checkpoint_to_header.py to say. The formats are told in docs/evidence.md.
"""

import base64
import hashlib
import json
import sys
from typing import NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def fail(reason: str) -> NoReturn:
    print(f"FAILED: {reason}")
    sys.exit(1)


def sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def raw(text: str) -> bytes:
    found = base64.b64decode(text, validate=True)
    return found if base64.b64encode(found).decode() == text else fail(f"receipt: not base64: {text}")


def leaf_of(record: bytes) -> bytes:
    """SHA-256(0x00 || salt || canonical): canonical is the JSON without its salt, as RFC 8785 writes it."""
    fields = json.loads(record)
    if fields.get("format") != "flexpact-record/v1":
        fail(f"record: expected format flexpact-record/v1, got {fields.get('format')}")
    layout = json.dumps(fields, sort_keys=True, indent=1, ensure_ascii=False) + "\n"
    salt = bytes.fromhex(fields.pop("salt"))
    if layout.encode() != record or len(salt) != 32:
        fail("record: the file is not in its one layout")
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return sha256(b"\x00", salt, canonical.encode())


def root_of(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """The root that leaf and path lead to, by RFC 9162 section 2.1.3.2."""
    at, last, root = index, size - 1, leaf
    if not 0 <= at <= last:
        fail(f"inclusion: expected an index below {size}, got {index}")
    for sibling in path:
        if last == 0:
            fail("inclusion: the path is too long")
        if at & 1 or at == last:
            root = sha256(b"\x01", sibling, root)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            root = sha256(b"\x01", root, sibling)
        at, last = at >> 1, last >> 1
    return root if last == 0 else fail("inclusion: the path is too short")


def check_signature(text: str, line: str, key: str) -> None:
    """C2SP signed-note: Ed25519 over the text; the line has four bytes of the key's id before it."""
    name, key_id, public = key.split("+", 2)
    if raw(public)[:1] != b"\x01" or sha256(f"{name}\n".encode(), raw(public))[:4].hex() != key_id:
        fail(f"key: not a log's key: {key}")
    if text.split("\n")[0] != name:
        fail(f"checkpoint: expected the log {name}, got {text.split(chr(10))[0]}")
    prefix, _, signature = line.rpartition(" ")
    if prefix != f"\u2014 {name}" or raw(signature)[:4].hex() != key_id:
        fail(f"checkpoint: expected a line of {name} with the key {key_id}, got {line}")
    try:
        Ed25519PublicKey.from_public_bytes(raw(public)[1:]).verify(raw(signature)[4:], text.encode())
    except InvalidSignature:
        fail("checkpoint: the signature does not belong to this text")


def main(record_file: str, receipt_file: str, key: str) -> None:
    with open(record_file, "rb") as record, open(receipt_file, encoding="utf-8", newline="") as receipt:
        leaf, (head, text, signatures) = leaf_of(record.read()), receipt.read().split("\n\n")
    version, _extra, index, *path = head.split("\n")
    if version != "c2sp.org/tlog-proof@v1" or index != f"index {int(index[6:])}":
        fail(f"receipt: expected c2sp.org/tlog-proof@v1 and an index, got {version} and {index}")
    _, size, root = text.split("\n")
    found = root_of(leaf, int(index[6:]), int(size), [raw(line) for line in path])
    if found != raw(root):
        fail(f"inclusion: expected root {raw(root).hex()}, got {found.hex()}")
    check_signature(text + "\n", signatures.split("\n")[0], key)
    print(f"ok: leaf {leaf.hex()} is in the tree of {size} leaves with root {found.hex()}, signed by {key}")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError) as error:
        fail(f"a file is not what it should be: {error}")

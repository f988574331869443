"""The evidence: an append-only Merkle log, its checkpoints, their anchors on a chain, and receipts that
verify offline.
"""

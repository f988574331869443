// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

/// @title CheckpointLog: the newest checkpoint of one append-only log
/// @notice Holds one word, the commitment to the size and root of the newest checkpoint that the log's
/// publisher moved here. A reader proves it against a block header with a storage proof of slot 0.
/// @dev The word is keccak256(abi.encode(size, root)). A publisher that lost count cannot do harm: `publish`
/// compares before it swaps, so that a transaction sent twice, late or out of order changes nothing.
contract CheckpointLog {
    /// @notice Commitment to the newest checkpoint. Storage slot 0, which receipts rely on.
    bytes32 public head;

    /// @notice The only account that may publish; fixed for ever.
    address public immutable publisher;

    /// @notice A checkpoint became the newest one.
    /// @param size The number of leaves in the log.
    /// @param root The Merkle tree hash over them (RFC 6962, SHA-256).
    event Published(uint64 indexed size, bytes32 root);

    /// @param publisher_ The account that may publish.
    constructor(address publisher_) {
        if (publisher_ == address(0)) revert("log: publisher is the zero address");
        publisher = publisher_;
        head = _commitment(0, sha256(""));
    }

    /// @notice Replace the newest checkpoint, if it is still the expected one, by a larger one.
    /// @param expectedSize The size of the checkpoint that is to be replaced, 0 before the first.
    /// @param expectedRoot Its root; before the first, the root of the empty tree, SHA-256 of nothing.
    /// @param size The new size.
    /// @param root The new root.
    function publish(uint64 expectedSize, bytes32 expectedRoot, uint64 size, bytes32 root) external {
        if (msg.sender != publisher) revert("log: caller is not the publisher");
        if (head != _commitment(expectedSize, expectedRoot)) revert("log: head is not the expected checkpoint");
        if (size <= expectedSize) revert("log: checkpoint does not grow the log");
        head = _commitment(size, root);
        emit Published(size, root);
    }

    /// @dev The size is padded to a word, so that no two checkpoints share a preimage.
    function _commitment(uint64 size, bytes32 root) private pure returns (bytes32) {
        return keccak256(abi.encode(size, root));
    }
}

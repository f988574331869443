// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {CheckpointLog} from "../CheckpointLog.sol";
import {Test} from "./Test.sol";

// A constant: calling the precompile between a cheat code and the call that it is meant for would use it up.
bytes32 constant EMPTY_ROOT = 0xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855; // SHA-256 of nothing

/// @notice What the fuzzer calls: any publication, right or wrong, by anybody.
contract Publishing is Test {
    CheckpointLog public immutable log;
    address public immutable publisher;
    uint64 public size;
    bytes32 public root = EMPTY_ROOT;

    constructor(address publisher_) {
        publisher = publisher_;
        log = new CheckpointLog(publisher_);
    }

    function follow(uint64 more, bytes32 next) external {
        uint64 larger = size + uint64(bound(more, 1, type(uint32).max));
        vm.prank(publisher);
        log.publish(size, root, larger, next);
        (size, root) = (larger, next);
    }

    function anything(address caller, uint64 expected, bytes32 expectedRoot, uint64 next, bytes32 nextRoot)
        external
    {
        vm.assume(caller != publisher || expected != size || expectedRoot != root || next <= expected);
        vm.prank(caller);
        vm.expectRevert();
        log.publish(expected, expectedRoot, next, nextRoot);
    }

    function again(uint64 notLarger, bytes32 next) external {
        vm.prank(publisher);
        vm.expectRevert(bytes("log: checkpoint does not grow the log"));
        log.publish(size, root, uint64(bound(notLarger, 0, size)), next);
    }
}

contract CheckpointLogInvariant is Test {
    Publishing private publishing;

    function setUp() external {
        publishing = new Publishing(address(0xA1));
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(publishing);
    }

    function invariant_headIsTheNewestCheckpointThatFollowed() external view {
        bytes32 expected = keccak256(abi.encode(publishing.size(), publishing.root()));
        vm.assertEq(publishing.log().head(), expected);
        vm.assertEq(vm.load(address(publishing.log()), bytes32(0)), expected); // the slot that receipts prove
    }
}

contract CheckpointLogTest is Test {
    address private constant PUBLISHER = address(0xA1);

    function test_publisherIsFixed() external {
        vm.assertEq(new CheckpointLog(PUBLISHER).publisher(), PUBLISHER);
    }

    function test_withoutPublisherIsRefused() external {
        vm.expectRevert(bytes("log: publisher is the zero address"));
        new CheckpointLog(address(0));
    }

    function testFuzz_onlyThePublisherPublishes(address caller) external {
        CheckpointLog log = new CheckpointLog(PUBLISHER);
        vm.assume(caller != PUBLISHER);
        vm.prank(caller);
        vm.expectRevert(bytes("log: caller is not the publisher"));
        log.publish(0, EMPTY_ROOT, 1, bytes32("root"));
    }

    function testFuzz_aPublicationIsAnEvent(uint64 size, bytes32 root) external {
        CheckpointLog log = new CheckpointLog(PUBLISHER);
        vm.assume(size > 0);
        vm.expectEmit(address(log));
        emit CheckpointLog.Published(size, root);
        vm.prank(PUBLISHER);
        log.publish(0, EMPTY_ROOT, size, root);
    }

    function test_aCheckpointThatIsNotExpectedIsRefused() external {
        CheckpointLog log = new CheckpointLog(PUBLISHER);
        vm.startPrank(PUBLISHER);
        log.publish(0, EMPTY_ROOT, 1, bytes32("one"));
        vm.expectRevert(bytes("log: head is not the expected checkpoint"));
        log.publish(0, EMPTY_ROOT, 2, bytes32("two"));
    }
}

// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuard} from "@openzeppelin/contracts/utils/ReentrancyGuard.sol";

import {DRAgreement} from "../DRAgreement.sol";
import {IDRAgreement} from "../IDRAgreement.sol";
import {IEnergyToken} from "../IEnergyToken.sol";
import {IParticipantRegistry} from "../IParticipantRegistry.sol";
import {Parties} from "./Parties.sol";

/// @notice A token that calls back whoever makes or moves it, and tells what came of it.
contract CallingBack is IEnergyToken {
    address private target;
    bytes private data;
    bytes public answer;
    bool private refuses;

    function refuse() external {
        refuses = true;
    }

    function arm(address target_, bytes calldata data_) external {
        (target, data) = (target_, data_);
    }

    function act(address target_, bytes calldata data_) external {
        (bool done,) = target_.call(data_);
        require(done);
    }

    function mint(address, uint256) external {
        callBack();
    }

    function transfer(address, uint256) external returns (bool) {
        callBack();
        return !refuses;
    }

    function callBack() private {
        (, answer) = target.call(data);
    }
}

/// @notice Who is called in the middle of a payment can do nothing with it.
contract DRAgreementAttackTest is Parties {
    bytes32 private constant SECOND = keccak256("second event");

    CallingBack private thief;

    function setUp() external {
        deploy();
        thief = new CallingBack();
        dr = new DRAgreement(registry, thief);
    }

    function test_aPaymentDoesNotBeginInAnother() external {
        register(address(thief), IParticipantRegistry.Role.Aggregator);
        IDRAgreement.Terms memory terms = usualTerms();
        terms.aggregator = address(thief);
        agree(ID, terms);
        vm.warp(NOON + 1 hours);
        thief.act(address(dr), abi.encodeCall(dr.book, (ID, EVENT, booking(NOON))));
        thief.act(address(dr), abi.encodeCall(dr.book, (ID, SECOND, booking(NOON))));
        vm.warp(NOON + 1 hours + WINDOW);
        thief.arm(address(dr), abi.encodeCall(dr.pay, (ID, SECOND)));
        thief.act(address(dr), abi.encodeCall(dr.pay, (ID, EVENT)));
        vm.assertEq(thief.answer(), abi.encodePacked(ReentrancyGuard.ReentrancyGuardReentrantCall.selector));
        assertStatus(EVENT, IDRAgreement.Status.Paid);
        assertStatus(SECOND, IDRAgreement.Status.Open);
        vm.assertEq(uint256(dr.agreementOf(ID).withdrawable), EARNED);
    }

    function test_aWithdrawalDoesNotBeginInAnother() external {
        register(address(thief), IParticipantRegistry.Role.VirtualNode);
        IDRAgreement.Terms memory terms = usualTerms();
        terms.node = address(thief);
        agree(ID, terms);
        vm.warp(NOON + 1 hours);
        bookUsual(EVENT);
        vm.warp(NOON + 1 hours + WINDOW);
        pay(EVENT);
        thief.arm(address(dr), abi.encodeCall(dr.withdraw, (ID)));
        thief.act(address(dr), abi.encodeCall(dr.withdraw, (ID)));
        vm.assertEq(thief.answer(), abi.encodePacked(ReentrancyGuard.ReentrancyGuardReentrantCall.selector));
        vm.assertEq(uint256(dr.agreementOf(ID).withdrawable), 0);
    }

    function test_aTokenThatMovesNothingLeavesIt() external {
        agree(ID, usualTerms());
        vm.warp(NOON + 1 hours);
        bookUsual(EVENT);
        vm.warp(NOON + 1 hours + WINDOW);
        pay(EVENT);
        thief.refuse();
        vm.expectRevert(abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, address(thief)));
        vm.prank(NODE);
        dr.withdraw(ID);
        vm.assertEq(uint256(dr.agreementOf(ID).withdrawable), EARNED);
    }

    function test_aTokenThatDoesNotLetItMintLeavesTheSettlementOpen() external {
        dr = new DRAgreement(registry, token);
        agree(ID, usualTerms());
        vm.warp(NOON + 1 hours);
        bookUsual(EVENT);
        vm.warp(NOON + 1 hours + WINDOW);
        vm.expectRevert(abi.encodeWithSignature("NotMinter(address)", address(dr)));
        pay(EVENT);
        assertStatus(EVENT, IDRAgreement.Status.Open);
    }
}

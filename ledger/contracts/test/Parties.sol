// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {DRAgreement} from "../DRAgreement.sol";
import {EnergyToken} from "../EnergyToken.sol";
import {IDRAgreement} from "../IDRAgreement.sol";
import {IParticipantRegistry} from "../IParticipantRegistry.sol";
import {ParticipantRegistry} from "../ParticipantRegistry.sol";
import {Keys} from "./Keys.sol";

/// @title Parties: an aggregator, a node, an arbiter and the contracts between them
abstract contract Parties is Keys {
    address internal constant ADMIN = address(0xAD);
    address internal constant AGGREGATOR = address(0xA1);
    address internal constant NODE = address(0xB2);
    address internal constant ARBITER = address(0xC3);
    address internal constant STRANGER = address(0xD4);

    bytes32 internal constant ID = keccak256("agreement");
    bytes32 internal constant EVENT = keccak256("event");

    /// @dev Noon of a day in UTC.
    uint48 internal constant NOON = 1_800_014_400;
    uint32 internal constant NOTICE = 1 hours;
    uint32 internal constant WINDOW = 3 days;
    uint32 internal constant TERM = 10 days;
    /// @dev What the usual booking earns: 10 kWh at 35.
    uint256 internal constant EARNED = 350;

    ParticipantRegistry internal registry;
    EnergyToken internal token;
    DRAgreement internal dr;

    function deploy() internal {
        vm.warp(NOON);
        registry = new ParticipantRegistry(ADMIN);
        token = new EnergyToken("Euro cent", "EURC", 2, ADMIN);
        dr = new DRAgreement(registry, token);
        register(AGGREGATOR, IParticipantRegistry.Role.Aggregator);
        register(NODE, IParticipantRegistry.Role.VirtualNode);
        register(ARBITER, IParticipantRegistry.Role.Dso);
        vm.prank(ADMIN);
        token.setMinter(address(dr), true);
    }

    function register(address account, IParticipantRegistry.Role role) internal {
        uint256 key = uint256(uint160(account));
        bytes32 certificate = keccak256(abi.encode(account));
        bytes memory signed = binding(registry, key, account, role, certificate);
        vm.prank(ADMIN);
        registry.register(account, role, certificate, publicKey(key), signed);
    }

    /// @dev 20 kW at 35 and 20 a kWh below 80 %, two calls a day, from now on for 30 days.
    function usualTerms() internal pure returns (IDRAgreement.Terms memory) {
        return IDRAgreement.Terms({
            aggregator: AGGREGATOR,
            startsAt: NOON,
            expiresAt: NOON + 30 days,
            node: NODE,
            capacityW: 20_000,
            noticeS: NOTICE,
            thresholdPpm: 800_000,
            arbiter: ARBITER,
            paymentTermS: TERM,
            disputeWindowS: WINDOW,
            utcOffsetS: 1 hours,
            priceMicro: 35e6,
            penaltyMicro: 20e6,
            maxCallsPerDay: 2
        });
    }

    function propose(bytes32 id, IDRAgreement.Terms memory terms) internal {
        vm.prank(terms.aggregator);
        dr.propose(id, terms);
    }

    function agree(bytes32 id, IDRAgreement.Terms memory terms) internal {
        propose(id, terms);
        vm.prank(terms.node);
        dr.accept(id, keccak256(abi.encode(terms)));
    }

    /// @dev 10 kWh asked for in one hour from `startsAt` on, and delivered.
    function booking(uint48 startsAt) internal pure returns (IDRAgreement.Booking memory) {
        return IDRAgreement.Booking({
            signalHash: keccak256("signal"),
            responseHash: keccak256("response"),
            measurementHash: keccak256("measurement"),
            notifiedAt: startsAt - NOTICE,
            startsAt: startsAt,
            durationS: 1 hours,
            requestedWh: 10_000,
            deliveredWh: 10_000,
            outcome: IDRAgreement.Outcome.Measured
        });
    }

    function book(bytes32 key, IDRAgreement.Booking memory booked) internal {
        vm.prank(AGGREGATOR);
        dr.book(ID, key, booked);
    }

    /// @dev Book the usual event: it has just ended.
    function bookUsual(bytes32 key) internal {
        book(key, booking(uint48(block.timestamp) - 1 hours));
    }

    function pay(bytes32 key) internal {
        vm.prank(AGGREGATOR);
        dr.pay(ID, key);
    }

    function dispute(address party, bytes32 key) internal {
        vm.prank(party);
        dr.dispute(ID, key, keccak256("reason"));
    }

    function resolve(bytes32 key, IDRAgreement.Outcome outcome, int48 deliveredWh) internal {
        vm.prank(ARBITER);
        dr.resolve(ID, key, outcome, deliveredWh, keccak256("finding"));
    }

    function revise(bytes32 key, uint16 revision, IDRAgreement.Outcome outcome, int48 deliveredWh) internal {
        vm.prank(AGGREGATOR);
        dr.revise(ID, key, revision, outcome, deliveredWh, keccak256("late measurement"));
    }

    function suspendParticipant(address account, bool suspended) internal {
        vm.prank(ADMIN);
        registry.setSuspended(account, suspended);
    }

    function assertState(IDRAgreement.State expected) internal view {
        vm.assertEq(uint256(dr.stateOf(ID)), uint256(expected));
    }

    function assertStatus(bytes32 key, IDRAgreement.Status expected) internal view {
        (IDRAgreement.Settled memory settled,,,,) = dr.settlementOf(ID, key);
        vm.assertEq(uint256(settled.status), uint256(expected));
    }

    function assertPurse(uint256 withdrawable, uint256 debt) internal view {
        IDRAgreement.Agreement memory agreement = dr.agreementOf(ID);
        vm.assertEq(uint256(agreement.withdrawable), withdrawable, "withdrawable");
        vm.assertEq(uint256(agreement.debt), debt, "debt");
        vm.assertEq(token.balanceOf(address(dr)), withdrawable, "escrow");
    }
}

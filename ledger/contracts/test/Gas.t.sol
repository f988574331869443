// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {CheckpointLog} from "../CheckpointLog.sol";
import {DRAgreement} from "../DRAgreement.sol";
import {EnergyToken} from "../EnergyToken.sol";
import {IDRAgreement} from "../IDRAgreement.sol";
import {IParticipantRegistry} from "../IParticipantRegistry.sol";
import {ParticipantRegistry} from "../ParticipantRegistry.sol";
import {EMPTY_ROOT} from "./CheckpointLog.t.sol";
import {Parties} from "./Parties.sol";

/// @notice What each transaction costs, in the state in which it usually comes; `docs/contracts.md` shows it.
/// @dev Only together with `forge test --isolate` do the numbers hold what a transaction costs before its call.
contract GasTest is Parties {
    uint256 private constant HOLDER_KEY = 0xC0FFEE;
    uint256 private constant DEADLINE = NOON + 365 days;
    bytes32 private constant OTHER_EVENT = keccak256("other event");

    function setUp() external {
        deploy();
    }

    function test_gas_deployment() external {
        vm.startSnapshotGas("CheckpointLog", "deployment");
        new CheckpointLog(AGGREGATOR);
        vm.stopSnapshotGas();
        vm.startSnapshotGas("ParticipantRegistry", "deployment");
        new ParticipantRegistry(ADMIN);
        vm.stopSnapshotGas();
        vm.startSnapshotGas("EnergyToken", "deployment");
        new EnergyToken("Euro cent", "EURC", 2, ADMIN);
        vm.stopSnapshotGas();
        vm.startSnapshotGas("DRAgreement", "deployment");
        new DRAgreement(registry, token);
        vm.stopSnapshotGas();
    }

    function test_gas_checkpointLog() external {
        CheckpointLog log = new CheckpointLog(AGGREGATOR);
        vm.startPrank(AGGREGATOR);
        log.publish(0, EMPTY_ROOT, 10_000, keccak256("root"));
        log.publish(10_000, keccak256("root"), 20_000, keccak256("next root"));
        vm.snapshotGasLastCall("CheckpointLog", "publish");
    }

    function test_gas_participantRegistry() external {
        bytes32 certificate = keccak256("certificate");
        bytes memory signed =
            binding(registry, 7, STRANGER, IParticipantRegistry.Role.Prosumer, certificate);
        vm.startPrank(ADMIN);
        registry.register(STRANGER, IParticipantRegistry.Role.Prosumer, certificate, publicKey(7), signed);
        vm.snapshotGasLastCall("ParticipantRegistry", "register (P-256)");
        certificate = keccak256("next certificate");
        signed = binding(registry, 8, STRANGER, IParticipantRegistry.Role.Prosumer, certificate);
        registry.renew(STRANGER, certificate, publicKey(8), signed);
        vm.snapshotGasLastCall("ParticipantRegistry", "renew (P-256)");
        registry.setSuspended(STRANGER, true);
        vm.snapshotGasLastCall("ParticipantRegistry", "setSuspended");
        registry.revoke(STRANGER);
        vm.snapshotGasLastCall("ParticipantRegistry", "revoke");
        registry.transferOwnership(STRANGER);
        vm.snapshotGasLastCall("ParticipantRegistry", "transferOwnership");
        vm.stopPrank();
        vm.prank(STRANGER);
        registry.acceptOwnership();
        vm.snapshotGasLastCall("ParticipantRegistry", "acceptOwnership");
    }

    function test_gas_energyToken() external {
        vm.prank(ADMIN);
        token.setMinter(STRANGER, true);
        vm.snapshotGasLastCall("EnergyToken", "setMinter");
        address holder = vm.addr(HOLDER_KEY);
        vm.startPrank(STRANGER);
        token.mint(holder, 100);
        token.mint(holder, 100);
        vm.snapshotGasLastCall("EnergyToken", "mint (to a holder)");
        bytes32 content = keccak256(
            abi.encode(
                keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"),
                holder,
                STRANGER,
                uint256(100),
                uint256(0),
                DEADLINE
            )
        );
        bytes32 digest = keccak256(abi.encodePacked("\x19\x01", token.DOMAIN_SEPARATOR(), content));
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(HOLDER_KEY, digest);
        token.permit(holder, STRANGER, 100, DEADLINE, v, r, s);
        vm.snapshotGasLastCall("EnergyToken", "permit");
        token.transferFrom(holder, NODE, 100);
        vm.snapshotGasLastCall("EnergyToken", "transferFrom");
        vm.stopPrank();
        vm.prank(NODE);
        token.transfer(holder, 50);
        vm.snapshotGasLastCall("EnergyToken", "transfer (to a holder)");
    }

    function test_gas_agreement() external {
        IDRAgreement.Terms memory terms = usualTerms();
        propose(ID, terms);
        vm.snapshotGasLastCall("DRAgreement", "propose");
        vm.prank(NODE);
        dr.accept(ID, keccak256(abi.encode(terms)));
        vm.snapshotGasLastCall("DRAgreement", "accept");
        vm.startPrank(AGGREGATOR);
        dr.suspend(ID, 1);
        vm.snapshotGasLastCall("DRAgreement", "suspend");
        vm.warp(NOON + 1 hours);
        dr.lift(ID);
        vm.snapshotGasLastCall("DRAgreement", "lift");
        dr.close(ID);
        vm.snapshotGasLastCall("DRAgreement", "close");
    }

    function test_gas_settlement() external {
        agree(ID, usualTerms());
        vm.warp(NOON + 2 hours);
        book(EVENT, booking(NOON + 1 hours));
        vm.snapshotGasLastCall("DRAgreement", "book (first of an agreement)");
        vm.warp(NOON + 4 hours);
        book(OTHER_EVENT, booking(NOON + 3 hours));
        vm.snapshotGasLastCall("DRAgreement", "book");
        revise(EVENT, 2, IDRAgreement.Outcome.Measured, 9_000);
        vm.snapshotGasLastCall("DRAgreement", "revise");
        dispute(NODE, EVENT);
        vm.snapshotGasLastCall("DRAgreement", "dispute");
        resolve(EVENT, IDRAgreement.Outcome.Measured, 9_500);
        vm.snapshotGasLastCall("DRAgreement", "resolve");
        vm.warp(NOON + 4 days);
        pay(EVENT);
        pay(OTHER_EVENT);
        vm.snapshotGasLastCall("DRAgreement", "pay");
        vm.prank(NODE);
        dr.withdraw(ID);
        vm.snapshotGasLastCall("DRAgreement", "withdraw (first of a node)");
    }

    function test_gas_paymentThatEndsArrears() external {
        agree(ID, usualTerms());
        vm.warp(NOON + 2 hours);
        book(EVENT, booking(NOON + 1 hours));
        vm.warp(NOON + 20 days);
        pay(EVENT);
        vm.snapshotGasLastCall("DRAgreement", "pay (ends arrears)");
    }
}

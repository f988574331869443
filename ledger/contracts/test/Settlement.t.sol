// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Settlement} from "../Settlement.sol";
import {Test} from "./Test.sol";

/// @notice Money to the minor unit; `tests/ledger/contracts/test_agreement_money.py` compares it with the product's.
contract SettlementTest is Test {
    int256 private constant MILLION = 1e6;
    int256 private constant SCALE = 1e15;

    function test_tiesGoToTheEvenUnit() external pure {
        check(500_000, 0, 0, 1_000, 1_000, 0, 0); // half a unit
        check(1_500_000, 0, 0, 1_000, 1_000, 2, 0); // one and a half
        check(2_500_000, 0, 0, 1_000, 1_000, 2, 0); // two and a half
        check(500_001, 0, 0, 1_000, 1_000, 1, 0);
        check(0, 500_000, 1e6, 1_000, 0, 0, 0); // owes half a unit
        check(0, 1_500_000, 1e6, 1_000, 0, 0, 2); // one and a half
        check(0, 500_001, 1e6, 1_000, 0, 0, 1);
    }

    function test_theNetIsRoundedOnce() external pure {
        // earns 0.4 and owes 0.3 units; 0.1 is nothing, though neither part would round so alone
        check(800_000, 1_500_000, 700_000, 1_000, 500, 0, 0);
        // earns 1.5 and owes 1.0: the incentive shows 2, the net 0.5 is 0, so that the penalty shows 2
        check(3_000_000, 2_000_000, 1e6, 1_000, 500, 2, 2);
    }

    function test_theCasesAreThoseOfTheDefinition() external pure {
        check(35e6, 20e6, 800_000, 8_000, 8_000, 280, 0);
        check(35e6, 20e6, 800_000, 8_000, 9_000, 280, 0); // no more than was asked for
        check(35e6, 20e6, 800_000, 8_000, 6_400, 224, 0); // at the threshold
        check(35e6, 20e6, 800_000, 8_000, 4_000, 140, 48);
        check(35e6, 20e6, 800_000, 8_000, -1_000, 0, 148); // used more than the baseline
        check(35e6, 20e6, 0, 8_000, -1_000, 0, 20); // owes even without a threshold
        check(35e6, 20e6, 800_000, 0, 0, 0, 0);
    }

    function testFuzz_partsAreNeverNegativeAndRoundedHalfEven(
        uint64 price,
        uint64 rate,
        uint32 thresholdPpm,
        uint48 requested,
        int48 delivered
    ) external pure {
        thresholdPpm = uint32(bound(thresholdPpm, 0, 1e6));
        (int256 incentive, int256 penalty) = Settlement.amounts(price, rate, thresholdPpm, requested, delivered);
        vm.assertTrue(incentive >= 0 && penalty >= 0);
        int256 asked = int256(uint256(requested));
        int256 counted = delivered < 0 ? int256(0) : (delivered < asked ? int256(delivered) : asked);
        int256 earned = int256(uint256(price)) * counted * MILLION;
        int256 missing = int256(uint256(thresholdPpm)) * asked - int256(delivered) * MILLION;
        int256 owed = missing < 0 ? int256(0) : int256(uint256(rate)) * missing;
        nearest(incentive, earned);
        nearest(incentive - penalty, earned - owed);
    }

    /// @dev Twice the distance is at most one unit; if it is one, the unit is even.
    function nearest(int256 unit, int256 exact) private pure {
        int256 twice = 2 * (unit * SCALE - exact);
        if (twice < 0) twice = -twice;
        vm.assertTrue(twice < SCALE || (twice == SCALE && unit % 2 == 0));
    }

    function check(
        uint64 price,
        uint64 rate,
        uint32 thresholdPpm,
        uint48 requested,
        int48 delivered,
        int256 earns,
        int256 owes
    ) private pure {
        (int256 incentive, int256 penalty) = Settlement.amounts(price, rate, thresholdPpm, requested, delivered);
        vm.assertEq(incentive, earns, "incentive");
        vm.assertEq(penalty, owes, "penalty");
    }
}

// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Test} from "./Test.sol";
import {Trading} from "./Trading.sol";

/// @notice Whatever is done with agreements, in whatever order: money, states and counts are those of the model.
contract DRAgreementInvariant is Test {
    Trading private trading;

    function setUp() external {
        trading = new Trading();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(trading);
    }

    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        bytes4[] memory calls = new bytes4[](12);
        calls[0] = Trading.book.selector;
        calls[1] = Trading.book.selector;
        calls[2] = Trading.book.selector;
        calls[3] = Trading.wait.selector;
        calls[4] = Trading.pay.selector;
        calls[5] = Trading.pay.selector;
        calls[6] = Trading.revise.selector;
        calls[7] = Trading.dispute.selector;
        calls[8] = Trading.resolve.selector;
        calls[9] = Trading.withdraw.selector;
        calls[10] = Trading.suspend.selector;
        calls[11] = Trading.lift.selector;
        targets = new FuzzSelector[](2);
        targets[0] = FuzzSelector(address(trading), calls);
        bytes4[] memory rare = new bytes4[](1);
        rare[0] = Trading.close.selector;
        targets[1] = FuzzSelector(address(trading), rare);
    }

    /// forge-config: default.invariant.runs = 16
    /// forge-config: default.invariant.depth = 60
    /// forge-config: long.invariant.runs = 150
    function invariant_theContractDoesWhatTheModelSays() external view {
        trading.check();
    }
}

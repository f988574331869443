// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Vm} from "./Vm.sol";

/// @title Test: what every test contract has
abstract contract Test {
    /// @notice Which functions of which contract an invariant run may call; forge asks for them by this name.
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    Vm internal constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    /// @notice Tells forge that this is a test.
    bool public constant IS_TEST = true;

    /// @dev A value within [low, high] made of a fuzzed one.
    function bound(uint256 value, uint256 low, uint256 high) internal pure returns (uint256) {
        if (low == 0 && high == type(uint256).max) return value;
        return low + value % (high - low + 1);
    }
}

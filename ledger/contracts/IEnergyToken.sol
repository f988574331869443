// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

/// @title IEnergyToken: what an agreement needs of the token in which incentives are booked
interface IEnergyToken {
    /// @notice Make new units.
    /// @param to The account that receives them.
    /// @param amount Whole minor units of the currency (cents, for a currency that has them).
    function mint(address to, uint256 amount) external;
}

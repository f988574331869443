// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

/// @title IParticipantRegistry: who takes part, and in which role
interface IParticipantRegistry {
    /// @notice What an account may be; an account has one role for ever.
    enum Role {
        None,
        Aggregator,
        VirtualNode,
        Prosumer,
        Dso,
        Auditor
    }

    /// @notice Whether an account acts in a role now.
    /// @param account The account.
    /// @param role The role that is asked for.
    /// @return True if it was registered with that role, has a certificate and is not suspended.
    function isActive(address account, Role role) external view returns (bool);
}

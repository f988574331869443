// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {P256} from "@openzeppelin/contracts/utils/cryptography/P256.sol";

import {IParticipantRegistry} from "../IParticipantRegistry.sol";
import {ParticipantRegistry} from "../ParticipantRegistry.sol";
import {Test} from "./Test.sol";

/// @title Keys: certificates for tests, a key and a number each
abstract contract Keys is Test {
    /// @dev x and y of the public key, as a registry takes it.
    function publicKey(uint256 key) internal pure returns (bytes memory) {
        (uint256 x, uint256 y) = vm.publicKeyP256(key);
        return abi.encode(x, y);
    }

    /// @dev What the holder of a certificate's key signs to bind it, with s in the lower half.
    function binding(
        ParticipantRegistry registry,
        uint256 key,
        address account,
        IParticipantRegistry.Role role,
        bytes32 certificate
    ) internal view returns (bytes memory) {
        return signature(key, registry.bindingDigest(account, role, certificate));
    }

    /// @dev r and s, with s in the lower half.
    function signature(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (bytes32 r, bytes32 s) = vm.signP256(key, digest);
        return abi.encode(r, uint256(s) > P256.N / 2 ? P256.N - uint256(s) : uint256(s));
    }
}

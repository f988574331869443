// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Ownable, Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {P256} from "@openzeppelin/contracts/utils/cryptography/P256.sol";
import {RSA} from "@openzeppelin/contracts/utils/cryptography/RSA.sol";

import {IParticipantRegistry} from "./IParticipantRegistry.sol";

/// @title ParticipantRegistry: which account acts in which role, and with which certificate
/// @notice An account has one role for ever. Its certificate is named by a hash and bound by a signature that
/// only the holder of the certificate's key can make. A certificate is bound once: neither revoked nor
/// replaced does it come back, so an old signature is of no use to anybody.
/// @dev The chain sees a public key and hashes, never a certificate. Whoever has the certificate checks it
/// against both hashes: the fingerprint's, and that of the key in it. The admin is handed over in two steps and
/// cannot be given up.
contract ParticipantRegistry is Ownable2Step, IParticipantRegistry {
    /// @notice What is known of an account.
    /// @param role Its role; None if it never registered.
    /// @param suspended Whether the admin has suspended it.
    /// @param certificate keccak256 of the certificate's SHA-256 fingerprint; zero once revoked.
    /// @param key keccak256 of the certificate's public key, as it was given to `register` or `renew`.
    struct Participant {
        Role role;
        bool suspended;
        bytes32 certificate;
        bytes32 key;
    }

    /// @notice The first word of what a certificate's key signs: no other signature of that key fits here.
    bytes32 public constant BINDING = keccak256("flexpact certificate binding v1");

    /// @notice The account that a certificate is, or was, bound to.
    mapping(bytes32 certificate => address account) public accountOf;

    uint256 private constant P256_KEY_BYTES = 64;

    mapping(address account => Participant) private _participants;

    /// @notice An account was registered.
    /// @param account The account.
    /// @param role Its role.
    event Registered(address indexed account, Role indexed role);

    /// @notice A certificate was bound to an account; it replaces the one before.
    /// @param account The account.
    /// @param certificate keccak256 of the certificate's SHA-256 fingerprint.
    /// @param key keccak256 of the certificate's public key.
    event CertificateBound(address indexed account, bytes32 indexed certificate, bytes32 key);

    /// @notice A certificate no longer stands for its account.
    /// @param account The account.
    /// @param certificate keccak256 of the certificate's SHA-256 fingerprint.
    event CertificateRevoked(address indexed account, bytes32 indexed certificate);

    /// @notice The admin suspended an account, or resumed it.
    /// @param account The account.
    /// @param suspended Whether it is suspended from now on.
    event SuspensionSet(address indexed account, bool suspended);

    /// @notice A participant needs a role.
    error RoleMissing();

    /// @notice The zero address takes no part, and a certificate's hash is not zero.
    error ZeroValue();

    /// @notice The account is registered already.
    /// @param account The account.
    error AlreadyRegistered(address account);

    /// @notice The account is not registered.
    /// @param account The account.
    error NotRegistered(address account);

    /// @notice The certificate is, or was, bound to an account.
    /// @param certificate keccak256 of the certificate's SHA-256 fingerprint.
    error CertificateUsed(bytes32 certificate);

    /// @notice The account has no certificate that could be revoked.
    /// @param account The account.
    error NoCertificate(address account);

    /// @notice The certificate's key did not sign this binding.
    error SignatureInvalid();

    /// @notice The caller is neither the admin nor the account itself.
    /// @param caller The caller.
    error NotAllowed(address caller);

    /// @notice The admin is handed over, never given up.
    error AdminNeeded();

    /// @param admin The first admin.
    constructor(address admin) Ownable(admin) {}

    /// @notice Register an account. Only the admin.
    /// @param account The account.
    /// @param role Its role.
    /// @param certificate keccak256 of the SHA-256 fingerprint of its certificate.
    /// @param key The certificate's public key: x and y of a P-256 key, or the modulus of an RSA key.
    /// @param signature That key's signature of `bindingDigest(account, role, certificate)`.
    function register(
        address account,
        Role role,
        bytes32 certificate,
        bytes calldata key,
        bytes calldata signature
    ) external onlyOwner {
        if (account == address(0)) revert ZeroValue();
        if (role == Role.None) revert RoleMissing();
        Participant storage participant = _participants[account];
        if (participant.role != Role.None) revert AlreadyRegistered(account);
        participant.role = role;
        emit Registered(account, role);
        _bind(account, certificate, key, signature);
    }

    /// @notice Bind another certificate to an account, in place of its own. Only the admin.
    /// @param account The account.
    /// @param certificate keccak256 of the SHA-256 fingerprint of the new certificate.
    /// @param key The new certificate's public key, as for `register`.
    /// @param signature That key's signature of `bindingDigest(account, role, certificate)`.
    function renew(address account, bytes32 certificate, bytes calldata key, bytes calldata signature)
        external
        onlyOwner
    {
        bytes32 replaced = _registered(account).certificate;
        if (replaced != 0) emit CertificateRevoked(account, replaced);
        _bind(account, certificate, key, signature);
    }

    /// @notice Take back an account's certificate: it is not active until another is bound. By the admin, or by
    /// the account itself.
    /// @param account The account.
    function revoke(address account) external {
        if (msg.sender != owner() && msg.sender != account) revert NotAllowed(msg.sender);
        Participant storage participant = _registered(account);
        bytes32 certificate = participant.certificate;
        if (certificate == 0) revert NoCertificate(account);
        participant.certificate = 0;
        participant.key = 0;
        emit CertificateRevoked(account, certificate);
    }

    /// @notice Suspend an account, or resume it. Only the admin.
    /// @param account The account.
    /// @param suspended Whether it is suspended from now on.
    function setSuspended(address account, bool suspended) external onlyOwner {
        _registered(account).suspended = suspended;
        emit SuspensionSet(account, suspended);
    }

    /// @notice What is known of an account.
    /// @param account The account.
    /// @return Its role, suspension, certificate and key.
    function participantOf(address account) external view returns (Participant memory) {
        return _participants[account];
    }

    /// @inheritdoc IParticipantRegistry
    function isActive(address account, Role role) external view returns (bool) {
        Participant storage participant = _participants[account];
        return role != Role.None && participant.role == role && !participant.suspended
            && participant.certificate != 0;
    }

    /// @notice Refused: without an admin nobody could be suspended.
    function renounceOwnership() public view override onlyOwner {
        revert AdminNeeded();
    }

    /// @notice What the key of a certificate signs (as the SHA-256 digest of ECDSA or of RSA PKCS #1 v1.5).
    /// @param account The account that the certificate shall stand for.
    /// @param role The account's role.
    /// @param certificate keccak256 of the certificate's SHA-256 fingerprint.
    /// @return SHA-256 of six words: `BINDING`, chain id, this registry's address, account, role, certificate.
    function bindingDigest(address account, Role role, bytes32 certificate) public view returns (bytes32) {
        return sha256(abi.encode(BINDING, block.chainid, address(this), account, role, certificate));
    }

    /// @dev RSA keys have the usual exponent, 65537: with a smaller one a signature could be made up.
    function _bind(address account, bytes32 certificate, bytes calldata key, bytes calldata signature) private {
        if (certificate == 0) revert ZeroValue();
        if (accountOf[certificate] != address(0)) revert CertificateUsed(certificate);
        Participant storage participant = _participants[account];
        bytes32 digest = bindingDigest(account, participant.role, certificate);
        bool signed = key.length == P256_KEY_BYTES
            ? _signedP256(digest, key, signature)
            : RSA.pkcs1Sha256(digest, signature, hex"010001", key);
        if (!signed) revert SignatureInvalid();
        bytes32 keyHash = keccak256(key);
        accountOf[certificate] = account;
        participant.certificate = certificate;
        participant.key = keyHash;
        emit CertificateBound(account, certificate, keyHash);
    }

    /// @dev The signature is r and s, with s in the lower half: of two valid forms one is taken.
    function _signedP256(bytes32 digest, bytes calldata key, bytes calldata signature) private view returns (bool) {
        if (signature.length != P256_KEY_BYTES) return false;
        return P256.verify(
            digest, bytes32(signature), bytes32(signature[32:]), bytes32(key), bytes32(key[32:])
        );
    }

    function _registered(address account) private view returns (Participant storage participant) {
        participant = _participants[account];
        if (participant.role == Role.None) revert NotRegistered(account);
    }
}

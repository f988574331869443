// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {P256} from "@openzeppelin/contracts/utils/cryptography/P256.sol";

import {IParticipantRegistry} from "../IParticipantRegistry.sol";
import {ParticipantRegistry} from "../ParticipantRegistry.sol";
import {Keys} from "./Keys.sol";

contract ParticipantRegistryTest is Keys {
    address private constant ADMIN = address(0xAD);
    address private constant NODE = address(0x10);
    address private constant OTHER = address(0x20);
    uint256 private constant KEY = 7;
    bytes32 private constant CERTIFICATE = keccak256("certificate");
    bytes32 private constant NEXT = keccak256("next certificate");
    IParticipantRegistry.Role private constant ROLE = IParticipantRegistry.Role.VirtualNode;

    ParticipantRegistry private registry;

    function setUp() external {
        registry = new ParticipantRegistry(ADMIN);
    }

    // --- registration

    function testFuzz_aRegisteredAccountIsActiveInItsRoleOnly(address account, uint8 number, uint256 key, bytes32 hash)
        external
    {
        vm.assume(account != address(0) && hash != 0);
        IParticipantRegistry.Role role = IParticipantRegistry.Role(bound(number, 1, 5));
        key = bound(key, 1, P256.N - 1);
        bytes memory signed = binding(registry, key, account, role, hash);
        vm.expectEmit(address(registry));
        emit ParticipantRegistry.Registered(account, role);
        vm.expectEmit(address(registry));
        emit ParticipantRegistry.CertificateBound(account, hash, keccak256(publicKey(key)));
        vm.prank(ADMIN);
        registry.register(account, role, hash, publicKey(key), signed);
        for (uint8 asked = 0; asked <= 5; ++asked) {
            bool active = registry.isActive(account, IParticipantRegistry.Role(asked));
            vm.assertEq(active, asked == uint8(role));
        }
        ParticipantRegistry.Participant memory known = registry.participantOf(account);
        vm.assertEq(uint256(known.role), uint256(role));
        vm.assertFalse(known.suspended);
        vm.assertEq(known.certificate, hash);
        vm.assertEq(known.key, keccak256(publicKey(key)));
        vm.assertEq(registry.accountOf(hash), account);
    }

    function test_nobodyIsActiveWithoutRegistration() external view {
        vm.assertFalse(registry.isActive(NODE, IParticipantRegistry.Role.None));
        vm.assertFalse(registry.isActive(NODE, ROLE));
    }

    function testFuzz_onlyTheAdminRegisters(address caller) external {
        vm.assume(caller != ADMIN);
        bytes memory signed = binding(registry, KEY, NODE, ROLE, CERTIFICATE);
        refuse(caller, abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, caller));
        registry.register(NODE, ROLE, CERTIFICATE, publicKey(KEY), signed);
    }

    function test_anAccountRegistersOnce() external {
        register();
        bytes memory signed = binding(registry, KEY, NODE, ROLE, NEXT);
        refuse(ADMIN, abi.encodeWithSelector(ParticipantRegistry.AlreadyRegistered.selector, NODE));
        registry.register(NODE, ROLE, NEXT, publicKey(KEY), signed);
    }

    function test_zeroValuesAreRefused() external {
        bytes memory signed = binding(registry, KEY, address(0), ROLE, CERTIFICATE);
        refuse(ADMIN, abi.encodeWithSelector(ParticipantRegistry.ZeroValue.selector));
        registry.register(address(0), ROLE, CERTIFICATE, publicKey(KEY), signed);
        signed = binding(registry, KEY, NODE, ROLE, 0);
        refuse(ADMIN, abi.encodeWithSelector(ParticipantRegistry.ZeroValue.selector));
        registry.register(NODE, ROLE, 0, publicKey(KEY), signed);
        signed = binding(registry, KEY, NODE, IParticipantRegistry.Role.None, CERTIFICATE);
        refuse(ADMIN, abi.encodeWithSelector(ParticipantRegistry.RoleMissing.selector));
        registry.register(NODE, IParticipantRegistry.Role.None, CERTIFICATE, publicKey(KEY), signed);
    }

    // --- the signature of the certificate's key

    function test_aSignatureForAnythingElseIsRefused() external {
        refused(publicKey(KEY), binding(registry, KEY + 1, NODE, ROLE, CERTIFICATE)); // another key
        refused(publicKey(KEY), binding(registry, KEY, OTHER, ROLE, CERTIFICATE));
        refused(publicKey(KEY), binding(registry, KEY, NODE, IParticipantRegistry.Role.Dso, CERTIFICATE));
        refused(publicKey(KEY), binding(registry, KEY, NODE, ROLE, NEXT));
        ParticipantRegistry elsewhere = new ParticipantRegistry(ADMIN);
        refused(publicKey(KEY), binding(elsewhere, KEY, NODE, ROLE, CERTIFICATE));
        bytes memory signed = binding(registry, KEY, NODE, ROLE, CERTIFICATE);
        vm.chainId(block.chainid + 1);
        refused(publicKey(KEY), signed);
    }

    function test_theDigestIsOfSixWords() external view {
        bytes32 expected =
            sha256(abi.encode(registry.BINDING(), block.chainid, address(registry), NODE, ROLE, CERTIFICATE));
        vm.assertEq(registry.bindingDigest(NODE, ROLE, CERTIFICATE), expected);
    }

    function testFuzz_aChangedSignatureIsRefused(uint256 place, uint8 change) external {
        vm.assume(change != 0);
        bytes memory signed = binding(registry, KEY, NODE, ROLE, CERTIFICATE);
        place = bound(place, 0, signed.length - 1);
        signed[place] = bytes1(uint8(signed[place]) ^ change);
        refused(publicKey(KEY), signed);
    }

    function test_theOtherFormOfASignatureIsRefused() external {
        (bytes32 r, bytes32 s) = abi.decode(binding(registry, KEY, NODE, ROLE, CERTIFICATE), (bytes32, bytes32));
        refused(publicKey(KEY), abi.encode(r, P256.N - uint256(s)));
    }

    function test_aSignatureOfAnotherLengthIsRefused() external {
        bytes memory signed = binding(registry, KEY, NODE, ROLE, CERTIFICATE);
        refused(publicKey(KEY), abi.encodePacked(signed, uint8(0)));
        refused(publicKey(KEY), "");
    }

    function test_aKeyOffTheCurveIsRefused() external {
        refused(abi.encode(1, 1), binding(registry, KEY, NODE, ROLE, CERTIFICATE));
    }

    function test_aShortRsaKeyIsRefused() external {
        bytes memory key = new bytes(255);
        key[0] = 0xff;
        refused(key, new bytes(255));
        refused("", "");
    }

    function test_anRsaSignatureThatDoesNotFitIsRefused() external {
        bytes memory key = new bytes(256);
        (key[0], key[255]) = (0xff, 0x01);
        refused(key, new bytes(256));
        refused(key, new bytes(255));
    }

    // --- renewal and revocation

    function test_renewalReplacesTheCertificate() external {
        register();
        bytes memory signed = binding(registry, KEY + 1, NODE, ROLE, NEXT);
        vm.expectEmit(address(registry));
        emit ParticipantRegistry.CertificateRevoked(NODE, CERTIFICATE);
        vm.expectEmit(address(registry));
        emit ParticipantRegistry.CertificateBound(NODE, NEXT, keccak256(publicKey(KEY + 1)));
        vm.prank(ADMIN);
        registry.renew(NODE, NEXT, publicKey(KEY + 1), signed);
        vm.assertEq(registry.participantOf(NODE).certificate, NEXT);
        vm.assertTrue(registry.isActive(NODE, ROLE));
    }

    function test_aCertificateIsBoundOnce() external {
        register();
        bytes memory first = binding(registry, KEY, NODE, ROLE, CERTIFICATE);
        bytes memory next = binding(registry, KEY, NODE, ROLE, NEXT);
        bytes memory others = binding(registry, KEY, OTHER, ROLE, CERTIFICATE);
        bytes memory used = abi.encodeWithSelector(ParticipantRegistry.CertificateUsed.selector, CERTIFICATE);
        refuse(ADMIN, used); // the one that stands
        registry.renew(NODE, CERTIFICATE, publicKey(KEY), first);
        refuse(ADMIN, used); // by another account
        registry.register(OTHER, ROLE, CERTIFICATE, publicKey(KEY), others);
        vm.assertEq(uint256(registry.participantOf(OTHER).role), 0);
        vm.prank(ADMIN);
        registry.renew(NODE, NEXT, publicKey(KEY), next);
        refuse(ADMIN, used); // once replaced
        registry.renew(NODE, CERTIFICATE, publicKey(KEY), first);
    }

    function test_aRevokedCertificateDoesNotComeBackButAnotherDoes() external {
        register();
        vm.expectEmit(address(registry));
        emit ParticipantRegistry.CertificateRevoked(NODE, CERTIFICATE);
        vm.prank(ADMIN);
        registry.revoke(NODE);
        vm.assertFalse(registry.isActive(NODE, ROLE));
        vm.assertEq(registry.participantOf(NODE).key, bytes32(0));
        bytes memory first = binding(registry, KEY, NODE, ROLE, CERTIFICATE);
        bytes memory next = binding(registry, KEY, NODE, ROLE, NEXT);
        refuse(ADMIN, abi.encodeWithSelector(ParticipantRegistry.CertificateUsed.selector, CERTIFICATE));
        registry.renew(NODE, CERTIFICATE, publicKey(KEY), first);
        vm.prank(ADMIN);
        registry.renew(NODE, NEXT, publicKey(KEY), next);
        vm.assertTrue(registry.isActive(NODE, ROLE));
    }

    function test_renewalOfAnUnknownAccountIsRefused() external {
        bytes memory signed = binding(registry, KEY, NODE, ROLE, CERTIFICATE);
        refuse(ADMIN, abi.encodeWithSelector(ParticipantRegistry.NotRegistered.selector, NODE));
        registry.renew(NODE, CERTIFICATE, publicKey(KEY), signed);
    }

    function test_onlyTheAdminRenews() external {
        register();
        bytes memory signed = binding(registry, KEY, NODE, ROLE, NEXT);
        refuse(NODE, abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, NODE));
        registry.renew(NODE, NEXT, publicKey(KEY), signed);
    }

    function test_anAccountRevokesItsOwnCertificate() external {
        register();
        vm.prank(NODE);
        registry.revoke(NODE);
        vm.assertFalse(registry.isActive(NODE, ROLE));
    }

    function testFuzz_othersRevokeNothing(address caller) external {
        vm.assume(caller != ADMIN && caller != NODE);
        register();
        refuse(caller, abi.encodeWithSelector(ParticipantRegistry.NotAllowed.selector, caller));
        registry.revoke(NODE);
    }

    function test_revocationNeedsACertificate() external {
        refuse(NODE, abi.encodeWithSelector(ParticipantRegistry.NotRegistered.selector, NODE));
        registry.revoke(NODE);
        register();
        vm.prank(NODE);
        registry.revoke(NODE);
        refuse(NODE, abi.encodeWithSelector(ParticipantRegistry.NoCertificate.selector, NODE));
        registry.revoke(NODE);
    }

    // --- suspension

    function test_aSuspendedAccountIsNotActiveUntilResumed() external {
        register();
        vm.expectEmit(address(registry));
        emit ParticipantRegistry.SuspensionSet(NODE, true);
        vm.prank(ADMIN);
        registry.setSuspended(NODE, true);
        vm.assertFalse(registry.isActive(NODE, ROLE));
        vm.prank(ADMIN);
        registry.setSuspended(NODE, false);
        vm.assertTrue(registry.isActive(NODE, ROLE));
    }

    function test_renewalDoesNotResume() external {
        register();
        bytes memory signed = binding(registry, KEY, NODE, ROLE, NEXT);
        vm.startPrank(ADMIN);
        registry.setSuspended(NODE, true);
        registry.renew(NODE, NEXT, publicKey(KEY), signed);
        vm.assertFalse(registry.isActive(NODE, ROLE));
    }

    function test_onlyTheAdminSuspends() external {
        register();
        refuse(NODE, abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, NODE));
        registry.setSuspended(NODE, true);
    }

    function test_anUnknownAccountIsNotSuspended() external {
        refuse(ADMIN, abi.encodeWithSelector(ParticipantRegistry.NotRegistered.selector, NODE));
        registry.setSuspended(NODE, true);
    }

    // --- the admin

    function test_theAdminIsHandedOverInTwoSteps() external {
        vm.prank(ADMIN);
        registry.transferOwnership(OTHER);
        vm.assertEq(registry.owner(), ADMIN);
        refuse(NODE, abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, NODE));
        registry.acceptOwnership();
        vm.prank(OTHER);
        registry.acceptOwnership();
        vm.assertEq(registry.owner(), OTHER);
    }

    function test_theAdminIsNotGivenUp() external {
        refuse(ADMIN, abi.encodeWithSelector(ParticipantRegistry.AdminNeeded.selector));
        registry.renounceOwnership();
        refuse(NODE, abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, NODE));
        registry.renounceOwnership();
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableInvalidOwner.selector, address(0)));
        new ParticipantRegistry(address(0));
    }

    function test_noCoinIsTaken() external {
        vm.deal(address(this), 1);
        (bool taken,) = address(registry).call{value: 1}("");
        vm.assertFalse(taken);
    }

    // --- helpers

    function register() private {
        bytes memory signed = binding(registry, KEY, NODE, ROLE, CERTIFICATE);
        vm.prank(ADMIN);
        registry.register(NODE, ROLE, CERTIFICATE, publicKey(KEY), signed);
    }

    function refused(bytes memory key, bytes memory signed) private {
        refuse(ADMIN, abi.encodeWithSelector(ParticipantRegistry.SignatureInvalid.selector));
        registry.register(NODE, ROLE, CERTIFICATE, key, signed);
        vm.assertEq(registry.accountOf(CERTIFICATE), address(0));
    }

    function refuse(address caller, bytes memory reason) private {
        vm.prank(caller);
        vm.expectRevert(reason);
    }
}

/// @notice What the fuzzer does to a registry, right or wrong, and what must then be true of it.
contract Registering is Keys {
    uint256 private constant ACCOUNTS = 4;
    uint256 private constant CERTIFICATES = 12;
    address private constant ADMIN = address(0xAD);

    ParticipantRegistry public immutable registry = new ParticipantRegistry(ADMIN);

    mapping(address account => IParticipantRegistry.Role) public roleOf;
    mapping(address account => bool) public suspended;
    mapping(address account => uint256) public certificateOf; // 0: none
    mapping(uint256 certificate => address) public boundTo;

    function register(uint256 who, uint256 role_, uint256 certificate) external {
        address account = accountAt(who);
        IParticipantRegistry.Role role = IParticipantRegistry.Role(bound(role_, 1, 5));
        certificate = bound(certificate, 1, CERTIFICATES);
        bytes memory signed = binding(registry, certificate, account, role, bytes32(certificate));
        bool right = roleOf[account] == IParticipantRegistry.Role.None && boundTo[certificate] == address(0);
        vm.prank(ADMIN);
        if (!right) vm.expectRevert();
        registry.register(account, role, bytes32(certificate), publicKey(certificate), signed);
        if (!right) return;
        roleOf[account] = role;
        (certificateOf[account], boundTo[certificate]) = (certificate, account);
    }

    function renew(uint256 who, uint256 certificate) external {
        address account = accountAt(who);
        certificate = bound(certificate, 1, CERTIFICATES);
        bytes memory signed = binding(registry, certificate, account, roleOf[account], bytes32(certificate));
        bool right = roleOf[account] != IParticipantRegistry.Role.None && boundTo[certificate] == address(0);
        vm.prank(ADMIN);
        if (!right) vm.expectRevert();
        registry.renew(account, bytes32(certificate), publicKey(certificate), signed);
        if (right) (certificateOf[account], boundTo[certificate]) = (certificate, account);
    }

    function revoke(uint256 who, uint256 by) external {
        (address account, address caller) = (accountAt(who), by % 2 == 0 ? ADMIN : accountAt(by / 2));
        bool right = certificateOf[account] != 0 && (caller == ADMIN || caller == account);
        vm.prank(caller);
        if (!right) vm.expectRevert();
        registry.revoke(account);
        if (right) certificateOf[account] = 0;
    }

    function suspend(uint256 who, bool yes) external {
        address account = accountAt(who);
        bool right = roleOf[account] != IParticipantRegistry.Role.None;
        vm.prank(ADMIN);
        if (!right) vm.expectRevert();
        registry.setSuspended(account, yes);
        if (right) suspended[account] = yes;
    }

    function stranger(address caller, uint256 who, uint256 certificate) external {
        vm.assume(caller != ADMIN);
        address account = accountAt(who);
        vm.prank(caller);
        vm.expectRevert();
        registry.setSuspended(account, true);
        vm.prank(caller);
        vm.expectRevert();
        registry.renew(account, bytes32(bound(certificate, 1, CERTIFICATES)), publicKey(1), "");
        vm.prank(caller);
        vm.expectRevert();
        registry.renounceOwnership();
    }

    /// @notice The registry is as the history of calls says.
    function check() external view {
        vm.assertEq(registry.owner(), ADMIN);
        for (uint256 who = 0; who < ACCOUNTS; ++who) {
            address account = accountAt(who);
            bool active = certificateOf[account] != 0 && !suspended[account];
            for (uint8 role = 0; role <= 5; ++role) {
                bool inRole = active && role != 0 && uint8(roleOf[account]) == role;
                vm.assertEq(registry.isActive(account, IParticipantRegistry.Role(role)), inRole);
            }
            vm.assertEq(uint256(registry.participantOf(account).certificate), certificateOf[account]);
        }
        for (uint256 certificate = 1; certificate <= CERTIFICATES; ++certificate) {
            vm.assertEq(registry.accountOf(bytes32(certificate)), boundTo[certificate]);
        }
    }

    function accountAt(uint256 number) private pure returns (address) {
        return address(uint160(0x1000 + number % ACCOUNTS));
    }
}

contract ParticipantRegistryInvariant is Keys {
    Registering private registering;

    function setUp() external {
        registering = new Registering();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(registering);
    }

    function invariant_theRegistryIsAsItsHistorySays() external view {
        registering.check();
    }
}

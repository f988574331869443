// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";

import {EnergyToken} from "../EnergyToken.sol";
import {Test} from "./Test.sol";

contract EnergyTokenTest is Test {
    address private constant ADMIN = address(0xAD);
    address private constant MINTER = address(0x31);
    address private constant NODE = address(0x10);
    address private constant OTHER = address(0x20);
    uint256 private constant KEY = 0xC0FFEE;
    uint256 private constant DEADLINE = 1_800_000_000; // later than the blocks that forge makes
    bytes32 private constant PERMIT =
        keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");

    EnergyToken private token;

    function setUp() external {
        token = new EnergyToken("Euro cent", "EURC", 2, ADMIN);
        vm.prank(ADMIN);
        token.setMinter(MINTER, true);
    }

    function test_aTokenIsNamedAndCountsMinorUnits() external {
        vm.assertEq(token.name(), "Euro cent");
        vm.assertEq(token.symbol(), "EURC");
        vm.assertEq(token.decimals(), 2);
        vm.assertEq(token.totalSupply(), 0);
        vm.assertEq(new EnergyToken("Yen", "JPY", 0, ADMIN).decimals(), 0);
        vm.assertEq(new EnergyToken("Four", "F", 4, ADMIN).decimals(), 4);
        vm.expectRevert(abi.encodeWithSelector(EnergyToken.TooManyDecimals.selector, 5));
        new EnergyToken("Five", "F", 5, ADMIN);
    }

    function testFuzz_aMinterMints(address to, uint256 amount) external {
        vm.assume(to != address(0));
        vm.expectEmit(address(token));
        emit IERC20.Transfer(address(0), to, amount);
        vm.prank(MINTER);
        token.mint(to, amount);
        vm.assertEq(token.balanceOf(to), amount);
        vm.assertEq(token.totalSupply(), amount);
    }

    function testFuzz_othersDoNotMint(address caller) external {
        vm.assume(caller != MINTER);
        vm.prank(caller);
        vm.expectRevert(abi.encodeWithSelector(EnergyToken.NotMinter.selector, caller));
        token.mint(caller, 1);
        vm.assertEq(token.totalSupply(), 0);
    }

    function test_theAdminStopsAMinter() external {
        vm.expectEmit(address(token));
        emit EnergyToken.MinterSet(MINTER, false);
        vm.prank(ADMIN);
        token.setMinter(MINTER, false);
        vm.prank(MINTER);
        vm.expectRevert(abi.encodeWithSelector(EnergyToken.NotMinter.selector, MINTER));
        token.mint(NODE, 1);
    }

    function testFuzz_onlyTheAdminNamesMinters(address caller) external {
        vm.assume(caller != ADMIN);
        vm.prank(caller);
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, caller));
        token.setMinter(caller, true);
    }

    function test_nothingIsMintedToNobodyOrBeyondTheLargestSupply() external {
        vm.startPrank(MINTER);
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InvalidReceiver.selector, address(0)));
        token.mint(address(0), 1);
        token.mint(NODE, type(uint256).max);
        vm.expectRevert();
        token.mint(OTHER, 1);
    }

    function testFuzz_unitsAreTransferred(uint256 held, uint256 amount) external {
        amount = bound(amount, 0, held);
        vm.prank(MINTER);
        token.mint(NODE, held);
        vm.prank(NODE);
        token.transfer(OTHER, amount);
        vm.assertEq(token.balanceOf(NODE), held - amount);
        vm.assertEq(token.balanceOf(OTHER), amount);
    }

    function test_moreThanIsHeldIsNotTransferred() external {
        vm.prank(NODE);
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InsufficientBalance.selector, NODE, 0, 1));
        token.transfer(OTHER, 1);
    }

    // --- permit

    function testFuzz_aPermitAllowsWithoutATransactionOfTheHolder(uint128 amount) external {
        address holder = vm.addr(KEY);
        (uint8 v, bytes32 r, bytes32 s) = permit(holder, amount, 0);
        token.permit(holder, OTHER, amount, DEADLINE, v, r, s);
        vm.assertEq(token.allowance(holder, OTHER), amount);
        vm.prank(MINTER);
        token.mint(holder, amount);
        vm.prank(OTHER);
        token.transferFrom(holder, OTHER, amount);
        vm.assertEq(token.balanceOf(OTHER), amount);
    }

    function test_aPermitIsUsedOnce() external {
        address holder = vm.addr(KEY);
        (uint8 v, bytes32 r, bytes32 s) = permit(holder, 5, 0);
        token.permit(holder, OTHER, 5, DEADLINE, v, r, s);
        vm.expectRevert();
        token.permit(holder, OTHER, 5, DEADLINE, v, r, s);
    }

    function test_aLatePermitOrAnothersIsRefused() external {
        address holder = vm.addr(KEY);
        (uint8 v, bytes32 r, bytes32 s) = permit(holder, 5, 0);
        vm.expectRevert();
        token.permit(NODE, OTHER, 5, DEADLINE, v, r, s);
        vm.expectRevert();
        token.permit(holder, OTHER, 6, DEADLINE, v, r, s);
        vm.warp(DEADLINE + 1);
        vm.expectRevert(abi.encodeWithSelector(ERC20Permit.ERC2612ExpiredSignature.selector, DEADLINE));
        token.permit(holder, OTHER, 5, DEADLINE, v, r, s);
    }

    // --- the admin, and coins

    function test_theAdminIsHandedOverInTwoSteps() external {
        vm.prank(ADMIN);
        token.transferOwnership(OTHER);
        vm.assertEq(token.owner(), ADMIN);
        vm.prank(OTHER);
        token.acceptOwnership();
        vm.assertEq(token.owner(), OTHER);
        vm.prank(ADMIN);
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, ADMIN));
        token.setMinter(ADMIN, true);
    }

    function test_theAdminIsNotGivenUp() external {
        vm.prank(ADMIN);
        vm.expectRevert(EnergyToken.AdminNeeded.selector);
        token.renounceOwnership();
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, address(this)));
        token.renounceOwnership();
    }

    function test_noCoinIsTaken() external {
        vm.deal(address(this), 2);
        (bool taken,) = address(token).call{value: 1}("");
        vm.assertFalse(taken);
        (taken,) = address(token).call{value: 1}(abi.encodeCall(token.approve, (OTHER, 1)));
        vm.assertFalse(taken);
    }

    function permit(address holder, uint256 amount, uint256 nonce) private view returns (uint8, bytes32, bytes32) {
        bytes32 content = keccak256(abi.encode(PERMIT, holder, OTHER, amount, nonce, DEADLINE));
        return vm.sign(KEY, keccak256(abi.encodePacked("\x19\x01", token.DOMAIN_SEPARATOR(), content)));
    }
}

/// @notice What the fuzzer does with a token.
contract Minting is Test {
    uint256 private constant ACCOUNTS = 4;
    address private constant ADMIN = address(0xAD);

    EnergyToken public immutable token = new EnergyToken("Euro cent", "EURC", 2, ADMIN);
    uint256 public minted;

    function setMinter(uint256 who, bool allowed) external {
        vm.prank(ADMIN);
        token.setMinter(accountAt(who), allowed);
    }

    function mint(uint256 by, uint256 to, uint96 amount) external {
        bool right = token.isMinter(accountAt(by));
        vm.prank(accountAt(by));
        if (!right) vm.expectRevert(abi.encodeWithSelector(EnergyToken.NotMinter.selector, accountAt(by)));
        token.mint(accountAt(to), amount);
        if (right) minted += amount;
    }

    function transfer(uint256 from, uint256 to, uint256 amount) external {
        amount = bound(amount, 0, token.balanceOf(accountAt(from)));
        vm.prank(accountAt(from));
        token.transfer(accountAt(to), amount);
    }

    function held() external view returns (uint256 total) {
        for (uint256 who = 0; who < ACCOUNTS; ++who) {
            total += token.balanceOf(accountAt(who));
        }
    }

    function accountAt(uint256 number) private pure returns (address) {
        return address(uint160(0x1000 + number % ACCOUNTS));
    }
}

contract EnergyTokenInvariant is Test {
    Minting private minting;

    function setUp() external {
        minting = new Minting();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(minting);
    }

    function invariant_whatIsHeldWasMinted() external view {
        vm.assertEq(minting.token().totalSupply(), minting.minted());
        vm.assertEq(minting.held(), minting.minted());
    }
}

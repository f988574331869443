// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Ownable, Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";

import {IEnergyToken} from "./IEnergyToken.sol";

/// @title EnergyToken: incentives in whole minor units of a currency
/// @notice An ERC-20 with permit. One unit is what the minters' operator owes its holder: nothing is paid into
/// this contract, it holds no coin, and no exchange with a coin is part of it.
/// @dev The admin says who mints; it is handed over in two steps and cannot be given up.
contract EnergyToken is ERC20Permit, Ownable2Step, IEnergyToken {
    /// @notice The most digits that a currency in use has behind its point.
    uint8 public constant MAX_DECIMALS = 4;

    /// @notice Whether an account may mint.
    mapping(address account => bool) public isMinter;

    uint8 private immutable _digits;

    /// @notice The admin let an account mint, or no longer.
    /// @param account The account.
    /// @param allowed Whether it may mint from now on.
    event MinterSet(address indexed account, bool allowed);

    /// @notice The caller may not mint.
    /// @param caller The caller.
    error NotMinter(address caller);

    /// @notice No currency has so many digits.
    /// @param digits The digits that were asked for.
    error TooManyDecimals(uint8 digits);

    /// @notice The admin is handed over, never given up.
    error AdminNeeded();

    /// @param name_ The token's name, also that of its permits.
    /// @param symbol_ The token's symbol.
    /// @param decimals_ How many digits of an amount stand behind the point: 2 where the minor unit is a cent.
    /// @param admin The first admin.
    constructor(string memory name_, string memory symbol_, uint8 decimals_, address admin)
        ERC20(name_, symbol_)
        ERC20Permit(name_)
        Ownable(admin)
    {
        if (decimals_ > MAX_DECIMALS) revert TooManyDecimals(decimals_);
        _digits = decimals_;
    }

    /// @notice Let an account mint, or no longer. Only the admin.
    /// @param account The account.
    /// @param allowed Whether it may mint from now on.
    function setMinter(address account, bool allowed) external onlyOwner {
        isMinter[account] = allowed;
        emit MinterSet(account, allowed);
    }

    /// @inheritdoc IEnergyToken
    function mint(address to, uint256 amount) external {
        if (!isMinter[msg.sender]) revert NotMinter(msg.sender);
        _mint(to, amount);
    }

    /// @notice Refused: without an admin nobody could stop a minter.
    function renounceOwnership() public view override onlyOwner {
        revert AdminNeeded();
    }

    /// @notice How many digits of an amount stand behind the point.
    /// @return The digits.
    function decimals() public view override returns (uint8) {
        return _digits;
    }
}

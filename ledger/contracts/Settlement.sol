// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

/// @title Settlement: what a delivery is worth, to the minor unit as `aggregator/settlement.py` says it
/// @notice incentive = price x min(delivered, requested), never below nothing; penalty = rate x max(0,
/// threshold x requested - delivered). The net amount is rounded once, half-even; the incentive is rounded
/// half-even and the penalty is the difference, so that the two add up to the amount.
/// @dev Prices are millionths of a minor unit for each kWh, the threshold is in millionths of the request,
/// energy in Wh. With 64 bits of price and 48 of energy no product comes near 256 bits.
library Settlement {
    int256 private constant MILLION = 1e6;
    /// @dev Micro minor units by Wh instead of kWh.
    int256 private constant PRICE_SCALE = 1e9;

    /// @param priceMicro Incentive for a kWh.
    /// @param penaltyMicro Penalty for a kWh missing.
    /// @param thresholdPpm Share of the request below which the penalty starts.
    /// @param requestedWh What was asked for.
    /// @param deliveredWh What was measured; negative if more was used than the baseline.
    /// @return incentive In minor units, not negative.
    /// @return penalty In minor units, not negative.
    function amounts(
        uint64 priceMicro,
        uint64 penaltyMicro,
        uint32 thresholdPpm,
        uint48 requestedWh,
        int48 deliveredWh
    ) internal pure returns (int256 incentive, int256 penalty) {
        int256 requested = int256(uint256(requestedWh));
        int256 delivered = int256(deliveredWh);
        int256 paid = delivered < requested ? delivered : requested;
        int256 earned = paid > 0 ? int256(uint256(priceMicro)) * paid : int256(0);
        int256 missingPpm = int256(uint256(thresholdPpm)) * requested - delivered * MILLION;
        int256 owed = missingPpm > 0 ? int256(uint256(penaltyMicro)) * missingPpm : int256(0);
        incentive = _halfEven(earned, PRICE_SCALE);
        penalty = incentive - _halfEven(earned * MILLION - owed, PRICE_SCALE * MILLION);
    }

    /// @dev The quotient rounded to the nearest whole number, a tie to the even one; the divisor is positive.
    function _halfEven(int256 dividend, int256 divisor) private pure returns (int256 quotient) {
        quotient = dividend / divisor;
        int256 rest = dividend % divisor;
        int256 side = rest < 0 ? int256(-1) : int256(1);
        int256 twice = 2 * rest * side;
        if (twice > divisor || (twice == divisor && quotient % 2 != 0)) {
            quotient += side;
        }
    }
}

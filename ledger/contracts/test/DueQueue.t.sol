// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {DueQueue} from "../DueQueue.sol";
import {Test} from "./Test.sol";

/// @notice The earliest due time is that of a search through all that is open.
contract DueQueueTest is Test {
    using DueQueue for DueQueue.Queue;

    DueQueue.Queue private queue;
    uint48[] private dues;
    uint24[] private tickets;

    function testFuzz_theEarliestIsKnownWhateverLeaves(uint16[24] calldata steps) external {
        uint48 now_ = 1;
        for (uint256 i = 0; i < steps.length; ++i) {
            if (steps[i] % 3 == 0 && tickets.length != 0) {
                uint256 which = steps[i] % tickets.length;
                queue.remove(tickets[which]);
                (tickets[which], dues[which]) = (tickets[tickets.length - 1], dues[dues.length - 1]);
                tickets.pop();
                dues.pop();
            } else {
                now_ += steps[i] % 5;
                uint24 ticket = queue.append(now_);
                vm.assertTrue(ticket != 0);
                tickets.push(ticket);
                dues.push(now_);
            }
            vm.assertEq(queue.earliest(), searched());
        }
    }

    function searched() private view returns (uint256 earliest) {
        for (uint256 i = 0; i < dues.length; ++i) {
            if (earliest == 0 || dues[i] < earliest) earliest = dues[i];
        }
    }
}

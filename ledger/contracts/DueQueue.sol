// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

/// @title DueQueue: what is to be paid and when, the earliest first
/// @notice A doubly linked list whose entries can leave from any place, so that the earliest due time is
/// known without a search however many settlements are open.
/// @dev Invariants: due times rise from head to tail, because the caller only ever appends (now + a constant)
/// and time does not run backwards; entry 0 is the sentinel between tail and head and is never removed. 24 bits
/// of tickets are 2,500 a day over 18 years, for one agreement; they let a settlement fit into its words.
library DueQueue {
    /// @notice One open payment.
    struct Entry {
        uint48 dueAt;
        uint24 next;
        uint24 previous;
    }

    /// @notice All open payments of one agreement; tickets are never used twice.
    struct Queue {
        mapping(uint24 ticket => Entry) entries;
        uint24 lastTicket;
    }

    /// @notice Append a payment.
    /// @param queue The open payments.
    /// @param dueAt When it is due, not before the one appended last.
    /// @return ticket What `remove` wants, never 0.
    function append(Queue storage queue, uint48 dueAt) internal returns (uint24 ticket) {
        ticket = ++queue.lastTicket;
        uint24 tail = queue.entries[0].previous;
        queue.entries[ticket] = Entry(dueAt, 0, tail);
        queue.entries[tail].next = ticket;
        queue.entries[0].previous = ticket;
    }

    /// @notice Take a payment out.
    /// @param queue The open payments.
    /// @param ticket What `append` returned for one that is still in.
    function remove(Queue storage queue, uint24 ticket) internal {
        Entry memory gone = queue.entries[ticket];
        queue.entries[gone.previous].next = gone.next;
        queue.entries[gone.next].previous = gone.previous;
        delete queue.entries[ticket];
    }

    /// @param queue The open payments.
    /// @return The earliest due time, 0 if nothing is open.
    function earliest(Queue storage queue) internal view returns (uint48) {
        return queue.entries[queue.entries[0].next].dueAt;
    }
}

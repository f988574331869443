"""What a message tells of its sender's clock."""

from datetime import datetime

from openadr.event import DistributeEvent
from openadr.opt import CreateOpt
from openadr.report import RegisterReport, UpdateReport
from openadr.wire import Message


def written_at(message: Message) -> datetime | None:
    """The createdDateTime of a message, the newest of several; None where it has none (GEN-20).

    A VTN makes it anew for each list of events (EVT-03); a report that had to wait tells an earlier time.
    """
    match message:
        case CreateOpt():
            return message.created_date_time
        case DistributeEvent():
            times = [event.descriptor.created_date_time for event in message.events]
        case RegisterReport() | UpdateReport():
            times = [report.created_date_time for report in message.reports]
        case _:
            return None
    return max(times, default=None)

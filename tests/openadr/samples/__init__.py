"""Messages of every class, with every field used at least once; the values of tests/vectors/*.xml."""

from openadr import Message
from tests.openadr.samples.event import EVENTS
from tests.openadr.samples.opt import OPTS
from tests.openadr.samples.registration import REGISTRATIONS
from tests.openadr.samples.report import REPORTS

# name of the file in tests/vectors -> its message
MESSAGES: dict[str, Message] = REGISTRATIONS | EVENTS | REPORTS | OPTS

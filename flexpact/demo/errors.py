"""What ends a demo early, each told in one sentence.

DemoError
  +- ChildDiedError   a process of the demo ended by itself
  +- TooLateError     something did not happen in its time
"""


class DemoError(Exception):
    """The demo could not go on; the message is the sentence for the person who started it."""


class ChildDiedError(DemoError):
    """A process of the demo ended by itself."""


class TooLateError(DemoError):
    """Something did not happen in its time."""

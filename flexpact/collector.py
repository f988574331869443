"""The garbage collector of a process that serves.

A full collection looks at every object, and what a server has loaded at its start outnumbers all that comes
later: on a small machine everybody waits a tenth of a second for it, again and again.
"""

import gc


def leave_what_is_loaded() -> None:
    """Collect once, and never look at what is left again. Call it when the process begins to serve."""
    gc.collect()
    gc.freeze()

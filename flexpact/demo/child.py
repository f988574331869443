"""`python -m flexpact.demo.child PARENT MODULE ARGUMENTS`: a module as a program that ends with its parent.

A demo that is killed -9 can stop nobody any more, so the kernel does it: each child asks, before anything
else, to be killed as soon as the demo is gone. A child may be killed at any line, so nothing is lost.
"""

import ctypes
import os
import runpy
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def end_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends; end it at once if `parent` is gone already."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "the kernel does not tie a process to its parent")
    if os.getppid() != parent:  # the kernel watches the new parent: the one before died in between
        os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Run the module that the command line names, as `python -m` would."""
    parent, module, *arguments = sys.argv[1:]
    end_with(int(parent))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()

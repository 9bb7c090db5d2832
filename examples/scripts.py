"""What the example scripts share as commands: errors of one line, and how they leave."""

import argparse
import os
import sys
from collections.abc import Callable
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Prints the message and leaves with 2."""
        self.exit(2, f"{self.prog}: error: {message} (--help shows the options)\n")


def leave_with(main: Callable[[], int]) -> NoReturn:
    """Runs a command and leaves with its exit code; with 130 where Ctrl-C ended it."""
    try:
        exit_code = main()
        sys.stdout.flush()
    except KeyboardInterrupt:
        exit_code = 130
    except BrokenPipeError:  # whoever read the output has left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        exit_code = 1
    sys.exit(exit_code)

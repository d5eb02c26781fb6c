"""Launches the controller manager: the same as ``kcpctl run-controllers``."""

import sys

from kcpctl.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["run-controllers", *sys.argv[1:]]))

"""Launches the syncer: the same as ``kcpctl syncer``."""

import sys

from kcpctl.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["syncer", *sys.argv[1:]]))

"""``python -m kcpctl``."""

import sys

from kcpctl.cli.main import main

if __name__ == "__main__":
    sys.exit(main())

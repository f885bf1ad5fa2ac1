"""`python -m waltzrl_tui` is the console script."""

import sys

from waltzrl_tui.cli import main

if __name__ == "__main__":
    sys.exit(main())

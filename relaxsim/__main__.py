"""``python -m relaxsim`` is the command ``relaxsim``."""

from relaxsim.cli import main

raise SystemExit(main())

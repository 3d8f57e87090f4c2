"""``python -m hwm_magics.cli``."""

from hwm_magics.cli import main

main()

"""Entry point of `python -m counterpoise`, the same as the command `counterpoise`."""

from counterpoise.cli import main

main()

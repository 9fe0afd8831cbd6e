"""`python -m counterpoise.cli`, the same as the command `counterpoise`."""

from counterpoise.cli import main

main()

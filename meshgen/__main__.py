"""``python -m meshgen`` is the command ``meshgen``."""

from meshgen.cli import main

main(prog_name="meshgen")

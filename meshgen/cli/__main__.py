from meshgen.cli import main

main(prog_name="meshgen")

from meshgen.settings.example import example

print(example(), end="")

from __future__ import annotations

import os
from pathlib import Path

import click

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", required=False, type=click.Choice(SHELLS))
def completion(shell: str | None) -> None:
    """Print the completion script of a shell.

    \b
    bash:  meshgen completion bash >> ~/.bashrc
    zsh:   meshgen completion zsh >> ~/.zshrc
    fish:  meshgen completion fish > ~/.config/fish/completions/meshgen.fish
    """
    from click.shell_completion import get_completion_class

    shell = shell or Path(os.environ.get("SHELL", "")).name
    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"no completion for the shell {shell!r}; name one of {', '.join(SHELLS)}")
    root = click.get_current_context().find_root().command
    click.echo(found(root, {}, "meshgen", "_MESHGEN_COMPLETE").source())

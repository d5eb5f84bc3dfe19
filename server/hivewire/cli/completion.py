"""`hivewire completion`: shell completion of commands, options and names."""

from __future__ import annotations

import os
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from hivewire.cli.output import output_option, print_result

LINE = 'eval "$(hivewire completion zsh)"'
"""Zsh has no directory in the user's home from which it loads functions by default."""


@click.command(
    epilog="""\b
Examples:
  hivewire completion bash --install
  hivewire completion fish --install
  eval "$(hivewire completion zsh)"        (in ~/.zshrc)

\b
Bash looks there with the package bash-completion. Without it, put
eval "$(hivewire completion bash)" into ~/.bashrc.

\b
Names of configurations are read from the gateway of the saved login."""
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.option("--install", is_flag=True, help="Write it to the place where a new shell finds it.")
@output_option
@click.pass_context
def completion(context: click.Context, shell: str, install: bool, form: str | None) -> None:
    """Print the completion script of SHELL: commands, options and names."""
    made = get_completion_class(shell)
    assert made is not None  # noqa: S101 - click knows all three
    script = made(context.find_root().command, {}, "hivewire", "_HIVEWIRE_COMPLETE").source()
    if not install:
        print_result({"shell": shell, "script": script}, form, script, script)
        return
    place = _place(shell)
    place.parent.mkdir(parents=True, exist_ok=True)
    if shell == "zsh":
        if not place.exists() or LINE not in place.read_text():
            with place.open("a") as file:
                file.write(f"\n{LINE}\n")
    else:
        place.write_text(script + "\n")
    print_result({"shell": shell, "path": str(place)}, form, f"written to {place}; start a new {shell}", str(place))


def _place(shell: str) -> Path:
    home = Path.home()
    if shell == "zsh":
        return Path(os.environ.get("ZDOTDIR") or home) / ".zshrc"
    if shell == "fish":
        return Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "fish/completions/hivewire.fish"
    return Path(os.environ.get("XDG_DATA_HOME") or home / ".local/share") / "bash-completion/completions/hivewire"

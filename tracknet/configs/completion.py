"""A script that lets the shell complete commands, options and class names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tracknet.configs.options import Options, choosable, concrete
from tracknet.configs.wording import choices

Shell = Literal["bash", "zsh"]

_BESIDE = ("--config", "--env", "--trusted-only", "--trust", "--print_config", "--help")
"""What training commands take besides their keys."""

_SCRIPT = """\
# Completion of tracknet for {shell}: source this file.
_tracknet() {{
  local word="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}" words="" prefix=""
  # bash splits at "=": --optimizer=Ada is three words; to zsh it is one.
  if [[ "$word" == "=" ]]; then word=""; fi
  if [[ "$before" == "=" ]]; then before="${{COMP_WORDS[COMP_CWORD-2]}}"; fi
  if [[ "$word" == --*=* ]]; then before="${{word%%=*}}" prefix="${{word%%=*}}="; word="${{word#*=}}"; fi
  if (( COMP_CWORD == 1 )); then
    COMPREPLY=($(compgen -W "{commands}" -- "$word")); return
  fi
  case "${{COMP_WORDS[1]}}" in
    {training})
      case "$before" in
{values}
        --config|-c)
          COMPREPLY=($(compgen -P "$prefix" -W "{files}" -- "$word") $(compgen -P "$prefix" -f -- "$word"))
          return;;
        *) words="{flags}";;
      esac;;
{others}
  esac
  if [[ -n "$words" ]]; then COMPREPLY=($(compgen -P "$prefix" -W "$words" -- "$word")); fi
  if (( ${{#COMPREPLY[@]}} == 0 )); then COMPREPLY=($(compgen -P "$prefix" -f -- "$word")); fi
}}
complete -o nosort -F _tracknet tracknet
"""


@dataclass(frozen=True)
class Words:
    """What may follow a command.

    Args:
        flags: Its options, each with the values that may follow, where they are known.
        commands: The commands that it holds.
    """

    flags: Mapping[str, Sequence[str]] = field(default_factory=dict)
    commands: Mapping[str, Words] = field(default_factory=dict)


def completion(
    shell: Shell,
    options: Options,
    training: Iterable[str],
    commands: Mapping[str, Words],
    files: Iterable[str],
) -> str:
    """Write the script.

    It holds all names, so that completing starts no Python.

    Args:
        shell: Whose script.
        options: What the training commands take.
        training: The training commands, which take `options`.
        commands: All commands, with the words that may follow the others.
        files: Names of packaged configurations.

    Returns:
        Text of the script.
    """
    values = []
    for key, option in options.keys.items():
        named = [cls.__name__ for base in choosable(option.type) for cls in concrete(base)]
        if words := list(dict.fromkeys([*named, *choices(option.type)])):
            values.append(f'        --{key}) words="{" ".join(words)}";;')
    flags = [f"--{key}" for key in _flags(options)]
    others = [line for name, words in commands.items() for line in _branch(name, words, 2)]
    script = _SCRIPT.format(
        shell=shell,
        commands=" ".join(commands),
        training="|".join(training),
        values="\n".join(values),
        files=" ".join(files),
        flags=" ".join([*_BESIDE, *flags]),
        others="\n".join(others),
    )
    start = "autoload -Uz compinit bashcompinit && compinit && bashcompinit\n" if shell == "zsh" else ""
    return start + script


def _flags(options: Options) -> list[str]:
    """Give all keys, and the parameters of the classes that they choose, one level down."""
    found = list(options.keys)
    for key, option in options.keys.items():
        if not key.startswith("trainer."):
            for base in choosable(option.type):
                for cls in concrete(base):
                    found += [f"{key}.{name}" for name in options.of_class(cls, key)]
    return list(dict.fromkeys(found))


def _branch(name: str, words: Words, place: int) -> Iterator[str]:
    """Give the branch of a command; `place` is that of the word after it.

    Options are offered once a dash is there: without one, most commands want a file.
    """
    indent = "  " * place
    if not words.flags and not words.commands:
        return
    yield f"{indent}{name})"
    if words.commands:
        yield f'{indent}  if (( COMP_CWORD == {place} )); then words="{" ".join(words.commands)}"; fi'
        yield f'{indent}  case "${{COMP_WORDS[{place}]}}" in'
        for inner, its in words.commands.items():
            yield from _branch(inner, its, place + 1)
        yield f"{indent}  esac;;"
        return
    yield f'{indent}  case "$before" in'
    for flag, values in words.flags.items():
        if values:
            yield f'{indent}    {flag}) words="{" ".join(values)}";;'
    yield f'{indent}    *) if [[ "$word" == -* ]]; then words="{" ".join(words.flags)}"; fi;;'
    yield f"{indent}  esac;;"

"""A script that lets the shell complete commands, options and class names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tracknet.configs.library import by_group
from tracknet.configs.options import Options, choosable, concrete
from tracknet.configs.wording import choices

Shell = Literal["bash", "zsh"]

_BESIDE = ("--config", "--env", "--trusted-only", "--trust", "--print_config", "--help")
"""What training commands take besides their keys."""

_SCRIPT = """\
# Completion of tracknet for {shell}: source this file.
_tracknet_files() {{
  local IFS=$'\\n'  # names may hold blanks
  compopt -o filenames 2>/dev/null
  COMPREPLY+=($(compgen -P "$prefix" -f -- "${{word//\\\\/}}"))
}}
_tracknet() {{
  local word="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}" words="" prefix=""
  # bash splits at "=": --optimizer=Ada is three words; to zsh it is one.
  if [[ "$word" == "=" ]]; then word=""; fi
  if [[ "$before" == "=" ]]; then before="${{COMP_WORDS[COMP_CWORD-2]}}"; fi
  if [[ "$word" == [-+]*=* ]]; then before="${{word%%=*}}" prefix="${{word%%=*}}="; word="${{word#*=}}"; fi
  if (( COMP_CWORD == 1 )); then
    COMPREPLY=($(compgen -W "{commands}" -- "$word")); return
  fi
  case "${{COMP_WORDS[1]}}" in
    {training})
      case "$before" in
{values}
        --config|-c)
          COMPREPLY=($(compgen -P "$prefix" -W "{files}" -- "$word")); _tracknet_files; return;;
        *)
          if [[ "$word" == -* ]]; then words="{flags}"; fi
          if [[ "$word" == +* ]]; then words="{groups}"; compopt -o nospace 2>/dev/null; fi;;
      esac;;
{others}
  esac
  if [[ -n "$words" ]]; then COMPREPLY=($(compgen -P "$prefix" -W "$words" -- "$word")); fi
  if (( ${{#COMPREPLY[@]}} == 0 )); then _tracknet_files; fi
}}
complete -o nosort -F _tracknet tracknet
"""


@dataclass(frozen=True)
class Words:
    """What may follow a command.

    Args:
        flags: Its options, each with the values that may follow, where they are known.
        commands: The commands that it holds.
        first: What may stand right behind it, where that is one of a few words.
    """

    flags: Mapping[str, Sequence[str]] = field(default_factory=dict)
    commands: Mapping[str, Words] = field(default_factory=dict)
    first: Sequence[str] = ()


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
    files = list(files)
    groups = by_group(files)
    known = _flags(options)
    after = {f"--{key}": _values(hints) for key, hints in known.items()}
    after |= {"--env": groups.get("env", []), **{f"+{group}": names for group, names in groups.items()}}
    values = [f'        {word}) words="{" ".join(words)}";;' for word, words in after.items() if words]
    flags = [f"--{key}" for key in known]
    others = [line for name, words in commands.items() for line in _branch(name, words, 2)]
    script = _SCRIPT.format(
        shell=shell,
        commands=" ".join(commands),
        training="|".join(training),
        values="\n".join(values),
        files=" ".join(files),
        flags=" ".join([*_BESIDE, *flags]),
        groups=" ".join(f"+{group}=" for group in groups),
        others="\n".join(others),
    )
    start = "autoload -Uz compinit bashcompinit && compinit && bashcompinit\n" if shell == "zsh" else ""
    return start + script


def _flags(options: Options) -> dict[str, list[Any]]:
    """Give the types of all keys, and of the parameters of the classes that they choose, one level down."""
    found: dict[str, list[Any]] = {key: [option.type] for key, option in options.keys.items()}
    for key, option in options.keys.items():
        if not key.startswith("trainer."):
            for base in choosable(option.type):
                for cls in concrete(base):
                    for name, inner in options.of_class(cls, key).items():
                        found.setdefault(f"{key}.{name}", []).append(inner.type)
    return found


def _values(hints: Iterable[Any]) -> list[str]:
    """Give the names of classes and the words that type hints allow."""
    found: list[str] = []
    for hint in dict.fromkeys(hints):
        found += [cls.__name__ for base in choosable(hint) for cls in concrete(base)]
        found += choices(hint)
    return list(dict.fromkeys(found))


def _branch(name: str, words: Words, place: int) -> Iterator[str]:
    """Give the branch of a command; `place` is that of the word after it.

    Options are offered once a dash is there: without one, most commands want a file.
    """
    indent = "  " * place
    if not words.flags and not words.commands and not words.first:
        return
    yield f"{indent}{name})"
    if words.commands:
        yield f'{indent}  if (( COMP_CWORD == {place} )); then words="{" ".join(words.commands)}"; fi'
        yield f'{indent}  case "${{COMP_WORDS[{place}]}}" in'
        for inner, its in words.commands.items():
            yield from _branch(inner, its, place + 1)
        yield f"{indent}  esac;;"
        return
    if words.first:
        yield f'{indent}  if (( COMP_CWORD == {place} )); then words="{" ".join(words.first)}"; fi'
    yield f'{indent}  case "$before" in'
    for flag, values in words.flags.items():
        if values:
            yield f'{indent}    {flag}) words="{" ".join(values)}";;'
    yield f'{indent}    *) if [[ "$word" == -* ]]; then words="{" ".join(words.flags)}"; fi;;'
    yield f"{indent}  esac;;"

"""The `swift rlhf` command in a shell script, read without running anything."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from r1zero.errors import UserError

_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_VARIABLE = re.compile(
    r"\$(?:(?P<bare>[A-Za-z_]\w*)|\{(?P<name>[A-Za-z_]\w*)(?::?-(?P<or>[^}]*))?\})"
)
_ENDS = "\n;|&()"


class Command(NamedTuple):
    """What a script says."""

    flags: dict[str, list[str]]
    """Values of each flag, without its dashes; a flag without a value has none."""
    environment: dict[str, str]
    """Variables set before it."""


class _Word(NamedTuple):
    text: str
    quoted: bool


def swift_command(text: str, where: str) -> Command:
    """Flags and variables of the one `swift rlhf` command in a script."""
    variables: dict[str, str] = {}
    for words in _commands(text, variables, where):
        start = _start(words)
        if start is not None:
            return Command(_flags(words[start:], where), variables)
    raise UserError(
        "has no `swift rlhf` command", where=where, hint="other commands of swift are not GRPO"
    )


def _start(words: list[str]) -> int | None:
    """Index of the first flag of a `swift rlhf` command, however it is launched."""
    for index, word in enumerate(words):
        if word.endswith("swift/cli/rlhf.py"):
            return index + 1
        if word.rpartition("/")[2] == "swift" and words[index + 1 : index + 2] == ["rlhf"]:
            return index + 2
    return None


def _flags(words: list[str], where: str) -> dict[str, list[str]]:
    flags: dict[str, list[str]] = {}
    values: list[str] | None = None
    for word in words:
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            values = flags[name.replace("-", "_")] = [value] if equals else []
        elif values is None:
            raise UserError(f"'{word}' stands before the first --flag", where=where)
        else:
            values.append(word)
    return flags


def _commands(text: str, variables: dict[str, str], where: str) -> Iterator[list[str]]:
    """Words of each command in turn; assignments go to `variables`."""
    words: list[str] = []
    leading = True
    for word in _words(text, variables, where):
        if word is None:
            if words:
                yield words
            words, leading = [], True
        elif leading and not word.quoted and word.text in {"export", "env", "set", "nohup"}:
            continue
        elif leading and _ASSIGNMENT.match(word.text):
            name, _, value = word.text.partition("=")
            variables[name] = value
        else:
            leading = False
            words.append(word.text)
    if words:
        yield words


def _words(text: str, variables: dict[str, str], where: str) -> Iterator[_Word | None]:
    """Words as a shell splits them, None where a command ends.

    A word is made when it is asked for, so variables set by earlier words are known.
    """
    text = text.replace("\r\n", "\n")
    place = 0
    while place < len(text):
        here = text[place]
        if text.startswith("\\\n", place):
            place += 2
        elif here in " \t":
            place += 1
        elif here == "#":
            place = _end_of_line(text, place)
        elif here in _ENDS:
            yield None
            place += 1
        elif match := re.compile(r"\d?[<>]+&?\s*").match(text, place):
            # The word after a redirection is a file, not a part of the command.
            _, place = _word(text, match.end(), variables, where)
        else:
            word, place = _word(text, place, variables, where)
            yield word
    yield None


def _word(text: str, place: int, variables: dict[str, str], where: str) -> tuple[_Word, int]:
    """The word that begins at `place`, and where it ends."""
    parts: list[str] = []
    quoted = False
    while place < len(text) and text[place] not in " \t<>" + _ENDS:
        here = text[place]
        if here in {"'", '"'}:
            inside, place = _quotation(text, place, variables, where)
            parts.append(inside)
            quoted = True
        elif text.startswith("\\\n", place):
            place += 2
        elif here == "\\":
            parts.append(text[place + 1 : place + 2])
            place += 2
        else:
            part, place = _piece(text, place, variables, where)
            parts.append(part)
    return _Word("".join(parts), quoted), place


def _quotation(text: str, place: int, variables: dict[str, str], where: str) -> tuple[str, int]:
    """Text of the quotation that begins at `place`, and where it ends."""
    mark, start = text[place], place
    parts: list[str] = []
    place += 1
    while place < len(text) and text[place] != mark:
        if mark == '"' and text[place] == "\\" and text[place + 1 : place + 2] in '"\\$`\n':
            parts.append(text[place + 1 : place + 2].replace("\n", ""))
            place += 2
        elif mark == '"':
            part, place = _piece(text, place, variables, where)
            parts.append(part)
        else:
            parts.append(text[place])
            place += 1
    if place >= len(text):
        line = text.count("\n", 0, start) + 1
        raise UserError(f"the quotation that begins in line {line} does not end", where=where)
    return "".join(parts), place + 1


def _piece(text: str, place: int, variables: dict[str, str], where: str) -> tuple[str, int]:
    """One character, or a variable's value, or a substitution as it stands; and where it ends.

    What only a shell could tell stays as written, so that the key that needs it can name it.
    """
    if match := _VARIABLE.match(text, place):
        name = match["bare"] or match["name"]
        return variables.get(name, match["or"] or match[0]), match.end()
    if text.startswith("$(", place):
        return _substitution(text, place, where)
    if text[place] == "`":
        end = text.find("`", place + 1)
        if end < 0:
            raise _open_substitution(text, place, where)
        return text[place : end + 1], end + 1
    return text[place], place + 1


def _substitution(text: str, place: int, where: str) -> tuple[str, int]:
    depth = 0
    for end in range(place, len(text)):
        depth += {"(": 1, ")": -1}.get(text[end], 0)
        if depth == 0 and text[end] == ")":
            return text[place : end + 1], end + 1
    raise _open_substitution(text, place, where)


def _open_substitution(text: str, place: int, where: str) -> UserError:
    line = text.count("\n", 0, place) + 1
    return UserError(f"the substitution that begins in line {line} does not end", where=where)


def _end_of_line(text: str, place: int) -> int:
    end = text.find("\n", place)
    return len(text) if end < 0 else end

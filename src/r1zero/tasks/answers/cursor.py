"""A position in the tokens of an answer."""

from collections.abc import Callable, Sequence

from r1zero.tasks.answers.nodes import Node
from r1zero.tasks.answers.tokens import END, Token

_MAX_DEPTH = 40


class Unreadable(ValueError):
    """The tokens are no answer of the grammar."""


class Foreign(Unreadable):
    """They have a command that the grammar does not know."""


class Cursor:
    """Takes tokens from left to right.

    Args:
        tokens: All tokens.

    """

    def __init__(self, tokens: Sequence[Token]) -> None:
        # Two more, since the rules look ahead.
        self.tokens = [*tokens, END, END, END]
        self.position = 0
        self._depth = 0

    @property
    def next(self) -> Token:
        """The next token."""
        return self.tokens[self.position]

    @property
    def rest(self) -> Sequence[Token]:
        """The tokens that were not read."""
        return self.tokens[self.position : -3]

    def at(self, *signs: str) -> bool:
        """Whether the next token is one of some signs."""
        return self.tokens[self.position].kind == "sign" and self.next.text in signs

    def _take(self) -> Token:
        token = self.tokens[self.position]
        if token.kind != "end":
            self.position += 1
        return token

    def _skip(self, sign: str) -> bool:
        if self.at(sign):
            self.position += 1
            return True
        return False

    def _expect(self, sign: str) -> None:
        if not self._skip(sign):
            raise Unreadable(f"expected {sign}")

    def _deeper(self, rule: Callable[[], Node]) -> Node:
        if self._depth >= _MAX_DEPTH:
            raise Unreadable("nested too deeply")
        self._depth += 1
        try:
            return rule()
        finally:
            self._depth -= 1

    def _digit(self) -> str:
        """One digit of the number that follows."""
        token = self._take()
        if token.kind != "number":
            raise Unreadable("no digit")
        if len(token.text) > 1:
            self.position -= 1
            self.tokens[self.position] = Token("number", token.text[1:])
        return token.text[0]

    def _script_text(self) -> str:
        """What stands after `_`, as it is."""
        if not self.at("{"):
            token = self._take()
            if token.kind in ("end", "sign"):
                raise Unreadable("no subscript")
            return token.text
        depth, found = 0, list[str]()
        while True:
            token = self._take()
            if token.kind == "end":
                raise Unreadable("a subscript that is not closed")
            depth += {"{": 1, "}": -1}.get(token.text, 0)
            if depth == 0:
                return "".join(found[1:])
            found.append(token.text)

r"""Numbers as people write them: mixed numbers, repeating decimals, digits in a base."""

from fractions import Fraction

from r1zero.tasks.answers.cursor import Cursor, Unreadable
from r1zero.tasks.answers.nodes import InBase, Node, Number, simplified
from r1zero.tasks.answers.tokens import Token
from r1zero.tasks.answers.vocabulary import BASES, FRACTIONS

# A longer number is none: the work on one grows with the square of its digits.
_MAX_DIGITS = 400
_MAX_EXPONENT = 400


class Numerals(Cursor):
    """The rules of the grammar for numbers."""

    def _number(self, token: Token) -> Node:
        node = self._repeating(token) if token.text.endswith(".") or self._is_barred() else None
        if node is None:
            if self.at("...") and "." in token.text:
                self.position += 1
                return _with_period(token.text)
            node = number(token.text)
        if not isinstance(node.value, int) or node.places is not None:
            return node
        return self._mixed(node)

    def _mixed(self, whole: Number) -> Node:
        """An integer with the fraction that follows it."""
        start, tokens = self.position, self.tokens
        if self.next.kind == "command" and self.next.text in FRACTIONS:
            self.position += 1
            self.tokens = list(tokens)  # digits are taken from it one by one
            above, below = self._part(), self._part()
        elif (
            self.next.kind == "number"
            and self.next.spaced
            and self.tokens[self.position + 1][:2] == ("sign", "/")
            and self.tokens[self.position + 2].kind == "number"
        ):
            above = number(self._take().text)
            self.position += 1
            below = number(self._take().text)
        else:
            return whole
        if not (_is_integer(above) and _is_integer(below)):
            self.position, self.tokens = start, tokens
            return whole
        assert isinstance(above, Number)
        assert isinstance(below, Number)
        if not 0 < above.value < below.value:
            raise Unreadable("neither a mixed number nor a product")
        return Number(whole.value + Fraction(above.value) / below.value)

    def _is_barred(self) -> bool:
        return self.next.kind == "command" and self.next.text in ("overline", "bar", "dot")

    def _repeating(self, token: Token) -> Number | None:
        """A decimal whose last digits repeat: with a bar, between dots, in parentheses."""
        if "." not in token.text:
            return None
        digits = ""
        if token.text.endswith(".") and self.at("("):
            self.position += 1
            digits = self._take().text
            self._expect(")")
        elif self.next.text == "dot":
            while self.next.text == "dot" or (digits and self.next.kind == "number"):
                if self.next.text == "dot":
                    self.position += 1
                    group = self._skip("{")
                    digits += self._digit()
                    if group:
                        self._expect("}")
                else:
                    digits += self._take().text
        else:
            self.position += 1
            group = self._skip("{")
            digits = self._take().text if group else self._digit()
            if group:
                self._expect("}")
        if not digits.isdecimal():
            raise Unreadable("no digits to repeat")
        return _repeated(token.text, digits)

    def _in_base(self) -> Node | None:
        """Digits with a base under them: `2112_6`, `(2112)_6`, `4C_{15}`."""
        start = position = self.position
        if self.tokens[position].kind not in ("number", "letters", "sign"):
            return None
        wrapped = self.tokens[position].text in ("(", "{")
        position += wrapped
        digits = ""
        while (token := self.tokens[position]).kind in ("number", "letters") and not (
            token.spaced and digits
        ):
            digits += token.text
            position += 1
        if wrapped:
            if self.tokens[position].text not in (")", "}"):
                return None
            position += 1
        if self.tokens[position][:2] != ("sign", "_") or len(digits) < 1:
            return None
        if digits.isalpha() and (len(digits) == 1 or not digits.isupper()):
            return None
        self.position = position + 1
        base = BASES.get(self._script_text().lower().removeprefix("base").strip("()"))
        if base is None:
            self.position = start
            return None
        return in_base(digits, base)

    def _part(self) -> Node:
        """An argument of a command."""
        raise NotImplementedError


def number(text: str) -> Number:
    """A number from its digits: `70000`, `.5`, `7e4`."""
    if len(text) > _MAX_DIGITS:
        raise Unreadable("too many digits")
    if text.isdecimal():
        return Number(int(text))
    digits, _, exponent = text.lower().partition("e")
    if digits in ("", "."):
        raise Unreadable("no digits")
    value, power = Fraction(digits if digits[-1] != "." else digits[:-1]), int(exponent or 0)
    if abs(power) > _MAX_EXPONENT:
        raise Unreadable("a number that is too large or too small")
    value *= Fraction(10) ** power
    _, point, decimals = digits.partition(".")
    places = len(decimals) - power if point else 0
    return Number(simplified(value), places if places > 0 else None)


def in_base(digits: str, base: int) -> Node:
    """Digits in a base, without leading zeros."""
    digits = digits.upper()
    whole, _, decimals = digits.partition(".")
    try:
        for part in (whole, decimals):
            int(part or "0", base)
    except ValueError:
        raise Unreadable("digits that the base does not have") from None
    plain = whole.lstrip("0") or "0"
    return InBase(f"{plain}.{decimals}" if decimals.strip("0") else plain, base)


def _is_integer(node: Node) -> bool:
    return isinstance(node, Number) and isinstance(node.value, int) and node.places is None


def _repeated(start: str, digits: str) -> Number:
    """The value of a decimal whose last digits repeat for ever."""
    if len(start) + len(digits) > _MAX_DIGITS:
        raise Unreadable("too many digits")
    whole, _, fixed = start.partition(".")
    period = Fraction(int(digits), 10 ** len(digits) - 1)
    value = int(whole or 0) + (int(fixed or 0) + period) / 10 ** len(fixed)
    return Number(simplified(value))


def _with_period(text: str) -> Number:
    """A decimal before an ellipsis: its last digits repeat if they have done so."""
    decimals = text.partition(".")[2]
    for length in range(1, len(decimals) // 2 + 1):
        period = decimals[-length:]
        times = 3 if length == 1 else 2
        if decimals.endswith(period * times):
            return _repeated(text[: len(text) - length], period)
    return number(text)

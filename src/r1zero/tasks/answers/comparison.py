"""Whether two answers that were read say the same.

A verdict is yes, no, or None where the forms of `exact` and the values of `numeric` leave it open.
With a judge it is never None.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import Any

from r1zero.tasks.answers import exact, numeric
from r1zero.tasks.answers.nodes import (
    EXPRESSIONS,
    Braces,
    Brackets,
    Call,
    Constant,
    InBase,
    Listing,
    Matrix,
    Measured,
    Node,
    Number,
    Power,
    Product,
    Ratio,
    Rational,
    Relation,
    SetOperation,
    Sum,
    Symbol,
    Words,
    negative,
)

Verdict = bool | None
Judge = Callable[[Node, Node], bool]

# A decimal stands for a value that it is a rounding of if it has as many digits.
_ENOUGH_DIGITS = 6
# An end of an interval, and which of two there goes first.
Bound = tuple[Rational | float, int]
_MOST_ITEMS = 60
_FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "=", "!=": "!="}
_INFINITE: tuple[Node, Node] = (Constant("infinity"), negative(Constant("infinity")))


class Comparison:
    """Compares trees, and asks a judge where it has one and needs it."""

    def __init__(self, judge: Judge | None = None) -> None:
        self._judge = judge

    def same(self, gold: Node, answer: Node) -> Verdict:
        """Whether an answer says what the gold answer says."""
        if gold == answer:
            return True
        if isinstance(gold, Relation) or isinstance(answer, Relation):
            return self._relations(gold, answer)
        if isinstance(gold, EXPRESSIONS) and isinstance(answer, EXPRESSIONS):
            return self._expressions(gold, answer)
        if {type(gold), type(answer)} == {Listing, SetOperation}:
            return self._same_interval(gold, answer)
        match gold, answer:
            case Words(text), Words(other_text):
                return _is_time(text, other_text) or _is_time(other_text, text)
            case Words(text), Symbol() | Product() | Constant():
                return text == _letters_of(answer)
            case Symbol() | Product() | Constant(), Words(text):
                return text == _letters_of(gold)
            case Brackets(), Brackets():
                return self._brackets(gold, answer)
            # Without parentheses the order counts all the same, where the other has them.
            case Brackets("(", items, ")"), Listing(others):
                return self._in_order(items, others)
            case Listing(items), Brackets("(", others, ")"):
                return self._in_order(items, others)
            case Matrix(rows), Matrix(others):
                if [len(row) for row in rows] != [len(row) for row in others]:
                    return False
                return self._in_order(_flat(rows), _flat(others))
            case Ratio(parts), Ratio(others) if len(parts) == len(others):
                return all_of(
                    self.same(Product((part, others[0])), Product((counterpart, parts[0])))
                    for part, counterpart in zip(parts, others, strict=True)
                )
            case SetOperation(), SetOperation():
                return self._set_operations(gold, answer)
        if isinstance(gold, SetOperation) or isinstance(answer, SetOperation):
            return self._ask(gold, answer) if _is_set(gold) and _is_set(answer) else False
        if isinstance(gold, Listing | Braces) or isinstance(answer, Listing | Braces):
            return self._collections(gold, answer)
        return False

    def _ask(self, gold: Node, answer: Node) -> Verdict:
        return None if self._judge is None else self._judge(gold, answer)

    def _expressions(self, gold: Node, answer: Node) -> Verdict:
        if isinstance(gold, Number) and isinstance(answer, Number):
            return gold.value == answer.value or _rounds_to(gold, answer)
        minus, gold_digits, answer_digits = _unsigned(gold, answer)
        if isinstance(gold_digits, InBase) or isinstance(answer_digits, InBase):
            return minus and _same_digits(gold_digits, answer_digits)
        readings = [
            self._values(one, other)
            for one, other in zip(_amounts(gold, answer), _amounts(answer, gold), strict=True)
        ]
        return any_of(readings)

    def _values(self, gold: Node, answer: Node) -> Verdict:
        if gold == answer:
            return True
        if _has_infinity(gold) or _has_infinity(answer):
            return _plain(gold) == _plain(answer) and _plain(gold) in _INFINITE
        for decimal, other in ((gold, answer), (answer, gold)):
            if isinstance(decimal, Number) and _digits(decimal) >= _ENOUGH_DIGITS:
                return self._rounded(decimal, other)
        verdict = exact.equal(gold, answer)
        if verdict is not None:
            return verdict
        return False if numeric.apart(gold, answer) else self._ask(gold, answer)

    def _rounded(self, decimal: Number, other: Node) -> Verdict:
        """Whether a decimal with many digits is the rounding of a value, or the value."""
        value = exact.rational(other)
        if value is not None:
            return value == decimal.value or _rounds_to(decimal, Number(value))
        try:
            verdict = _is_near(decimal, numeric.interval(other))
        except (ArithmeticError, ValueError, RecursionError):
            verdict = None
        return self._ask(decimal, other) if verdict is None else verdict

    def _brackets(self, gold: Brackets, answer: Brackets) -> Verdict:
        alike = (gold.opening, gold.closing) == (answer.opening, answer.closing)
        if len(gold.items) == 2 and not alike:
            return False
        return self._in_order(gold.items, answer.items)

    def _in_order(self, gold: Sequence[Node], answer: Sequence[Node]) -> Verdict:
        if len(gold) != len(answer):
            return False
        return all_of(self.same(one, other) for one, other in zip(gold, answer, strict=True))

    def _collections(self, gold: Node, answer: Node) -> Verdict:
        if isinstance(gold, Brackets | Matrix) or isinstance(answer, Brackets | Matrix):
            return False
        items, others = _items(gold), _items(answer)
        if isinstance(gold, Braces) or isinstance(answer, Braces):
            items, others = self._distinct(items), self._distinct(others)
        if len(items) != len(others) or len(items) > _MOST_ITEMS:
            return False
        table = [[self.same(item, other) for other in others] for item in items]
        if _matched(table, (True,)):
            return True
        return None if _matched(table, (True, None)) else False

    def _distinct(self, items: Sequence[Node]) -> list[Node]:
        found: list[Node] = []
        for item in items[: _MOST_ITEMS + 1]:
            if not any(self.same(item, other) for other in found):
                found.append(item)
        return found

    def _set_operations(self, gold: SetOperation, answer: SetOperation) -> Verdict:
        if gold.name == answer.name:
            verdict = (
                self._in_order(gold.parts, answer.parts)
                if gold.name == "setminus"
                else self._collections(Listing(gold.parts), Listing(answer.parts))
            )
            if verdict:
                return True
        parts, others = _merged(gold), _merged(answer)
        return self._ask(gold, answer) if None in (parts, others) else parts == others

    def _relations(self, gold: Node, answer: Node) -> Verdict:
        if isinstance(gold, Relation) and isinstance(answer, Relation):
            return any_of((self._same_relation(gold, answer), self._same_interval(gold, answer)))
        if isinstance(answer, Relation) and set(answer.signs) <= {"=", "in"}:
            return self.same(gold, _right_side(answer, gold))
        if isinstance(gold, Relation) and _is_assignment(gold):
            return self.same(_right_side(gold, answer), answer)
        if isinstance(gold, Relation) and set(gold.signs) == {"="} and _is_numeric(gold):
            # 0.56 = 56\%, and the same value rounded
            return any_of(self.same(side, answer) for side in gold.sides)
        return self._same_interval(gold, answer)

    def _same_interval(self, gold: Node, answer: Node) -> Verdict:
        """Whether inequalities, or an interval, say the same of one variable."""
        one, other = _as_set(gold), _as_set(answer)
        if one is None or other is None or (one, other) == (gold, answer):
            return False
        return self.same(one, other)

    def _same_relation(self, gold: Relation, answer: Relation) -> Verdict:
        gold, answer = _ascending(gold), _ascending(answer)
        if set(gold.signs) == set(answer.signs) == {"="}:
            return self._equations(gold, answer)
        if gold.signs != answer.signs:
            return False
        verdict = self._in_order(gold.sides, answer.sides)
        if verdict or len(gold.signs) > 1 or "in" in gold.signs:
            return verdict
        if gold.signs == ("!=",):
            return any_of((verdict, self._in_order(gold.sides[::-1], answer.sides)))
        return any_of((verdict, self._proportional(gold, answer, (1,))))

    def _equations(self, gold: Relation, answer: Relation) -> Verdict:
        one, other = (
            (relation.sides[0], relation.sides[-1]) if _is_assignment(relation) else relation.sides
            for relation in (gold, answer)
        )
        if len(one) != len(other):
            return False
        verdict = self._in_order(one, other)
        if verdict or (one[0] == other[0] and isinstance(one[0], Symbol | Call)):
            return verdict
        if len(one) > 2:
            return verdict
        turned = self._in_order(one[::-1], other)
        proportion = self._proportional(
            Relation(tuple(one), ("=",)), Relation(tuple(other), ("=",)), (1, -1)
        )
        return any_of((verdict, turned, proportion))

    def _proportional(self, gold: Relation, answer: Relation, signs: Sequence[int]) -> Verdict:
        """Whether all on one side is a constant times the same of the other relation."""
        if not all(isinstance(side, EXPRESSIONS) for side in (*gold.sides, *answer.sides)):
            return False
        if any(map(_has_infinity, (*gold.sides, *answer.sides))):
            return False
        one, other = (
            Sum((relation.sides[0], negative(relation.sides[1]))) for relation in (gold, answer)
        )
        sign = exact.proportional(one, other)
        if sign is None:
            return self._ask(one, other)
        return sign in signs


def all_of(verdicts: Iterable[Verdict]) -> Verdict:
    """No if one is no, else None if one is None."""
    found: Verdict = True
    for verdict in verdicts:
        if verdict is False:
            return False
        found = found and verdict
    return found


def any_of(verdicts: Iterable[Verdict]) -> Verdict:
    """Yes if one is yes, else None if one is None."""
    found: Verdict = False
    for verdict in verdicts:
        if verdict:
            return True
        found = None if verdict is None else found
    return found


def _unsigned(gold: Node, answer: Node) -> tuple[bool, Node, Node]:
    """Both without a minus sign, and whether both or none had one."""
    (gold_minus, gold), (answer_minus, answer) = _sign_of(gold), _sign_of(answer)
    return gold_minus == answer_minus, gold, answer


def _sign_of(node: Node) -> tuple[bool, Node]:
    match node:
        case Product((Number(-1), InBase() as digits)):
            return True, digits
        case Number(value, places) if value < 0:
            return True, Number(-value, places)
    return False, node


def _same_digits(gold: Node, answer: Node) -> bool:
    """Digits in the same base; where the gold answer has a base, the answer may leave it out."""
    if isinstance(gold, InBase) and isinstance(answer, Number):
        return gold.digits == _decimal(answer)
    if isinstance(gold, Number) and isinstance(answer, InBase) and answer.base == 10:
        return answer.digits == _decimal(gold)
    return gold == answer


def _decimal(number: Number) -> str:
    """The digits of a number, as they were written."""
    if number.places is None:
        return str(number.value) if isinstance(number.value, int) else ""
    digits = str(int(number.value * 10**number.places)).rjust(number.places + 1, "0")
    whole, decimals = digits[: -number.places], digits[-number.places :]
    return f"{whole}.{decimals}" if decimals.strip("0") else whole


def _amounts(node: Node, other: Node) -> list[Node]:
    """What to compare with each other: the number before a sign, and its value."""
    if isinstance(node, Measured):
        return [node.value, node.value if isinstance(other, Measured) else node]
    if isinstance(other, Measured):
        return [node, node]
    return [node]


def _digits(number: Number) -> int:
    """Digits of a decimal that say something; 0 if it has few after the point."""
    if number.places is None or number.places < _ENOUGH_DIGITS:
        return 0
    return len(str(abs(int(number.value * 10**number.places))))


def _rounds_to(one: Number, other: Number) -> bool:
    """Whether the one with fewer digits is the other, rounded or cut off there."""
    candidates = [number for number in (one, other) if _digits(number) >= _ENOUGH_DIGITS]
    if not candidates:
        return False
    decimal: Number = min(candidates, key=lambda number: number.places or 0)
    return bool(_is_near(decimal, Fraction(other.value if decimal is one else one.value)))


def _is_near(decimal: Number, value: Any) -> Verdict:
    """Whether a decimal is a value, or an interval that holds it, rounded or cut off."""
    places = 10 ** (decimal.places or 0)
    # A value on both sides of zero is left to others.
    positive = value * places if decimal.value >= 0 else -value * places
    digits = abs(int(decimal.value * places))
    return all_of((positive >= 0, 2 * positive >= 2 * digits - 1, positive < digits + 1))


def _has_infinity(node: Node) -> bool:
    match node:
        case Constant("infinity"):
            return True
        case Sum(parts) | Product(parts) | Call(_, parts):
            return any(map(_has_infinity, parts))
    return False


def _plain(node: Node) -> Node:
    """A node without a factor 1 or a double minus."""
    match node:
        case Product((Number(1), rest)):
            return _plain(rest)
    return node


def _letters_of(node: Node) -> str | None:
    """The letters of a product of single letters, in order."""
    match node:
        case Symbol(name):
            return name.casefold()
        case Constant(name) if len(name) == 1:
            return name
        case Product(factors):
            letters = [_letters_of(factor) for factor in factors]
            return None if None in letters else "".join(map(str, letters))
    return None


def _is_set(node: Node) -> bool:
    return isinstance(node, SetOperation | Brackets | Braces | Symbol)


def _is_time(text: str, other: str) -> bool:
    """Whether one is the other, a time of day, with the half of the day."""
    return text[:1].isdecimal() and other in (f"{text} am", f"{text} pm")


def _merged(node: SetOperation) -> list[tuple[Bound, Bound]] | None:
    """The intervals that a union of intervals comes to, in order; None if that is not known."""
    if node.name != "cup":
        return None
    found: list[tuple[Bound, Bound]] = []
    for part in node.parts:
        match part:
            case Brackets(opening, (start, end), closing):
                low, high = _value(start), _value(end)
            case _:
                return None
        if low is None or high is None:
            return None
        # A closed end reaches further than an open one.
        found.append(((low, 0 if opening == "[" else 1), (high, 0 if closing == "]" else -1)))
    joined: list[tuple[Bound, Bound]] = []
    for first, last in sorted(found):
        # What touches is one, unless both ends are open.
        before = joined[-1][1] if joined else (-math.inf, 0)
        touches = first[0] == before[0] and not (first[1] and before[1])
        if joined and (first[0] < before[0] or touches):
            joined[-1] = joined[-1][0], max(before, last)
        else:
            joined.append((first, last))
    return joined


def _value(node: Node) -> Rational | float | None:
    if node in _INFINITE:
        return math.inf if node == _INFINITE[0] else -math.inf
    return exact.rational(node)


def _items(node: Node) -> Sequence[Node]:
    return node.items if isinstance(node, Listing | Braces) else (node,)


def _flat(rows: Sequence[Sequence[Node]]) -> list[Node]:
    return [entry for row in rows for entry in row]


def _matched(table: Sequence[Sequence[Verdict]], accepted: Sequence[Verdict]) -> bool:
    """Whether each row can have a column of its own with an accepted verdict."""
    taken: dict[int, int] = {}

    def place(row: int, seen: set[int]) -> bool:
        for column, verdict in enumerate(table[row]):
            if verdict in accepted and column not in seen:
                seen.add(column)
                if column not in taken or place(taken[column], seen):
                    taken[column] = row
                    return True
        return False

    return all(place(row, set()) for row in range(len(table)))


def _is_assignment(relation: Relation) -> bool:
    """Whether a name stands on the left, and what it is on the right."""
    if set(relation.signs) - {"=", "in"}:
        return False
    left = relation.sides[0]
    if isinstance(left, Brackets | Listing):
        return all(isinstance(item, Symbol) for item in left.items)
    return _letters_of(left) is not None or (isinstance(left, Call) and len(left.name) == 1)


def _is_numeric(node: Node) -> bool:
    """Whether it has no variables."""
    match node:
        case Relation(parts, _) | Sum(parts) | Product(parts) | Call(_, parts):
            return all(map(_is_numeric, parts))
        case Power(base, exponent):
            return _is_numeric(base) and _is_numeric(exponent)
        case Measured(_, value):
            return _is_numeric(value)
    return isinstance(node, Number | Constant)


def _right_side(relation: Relation, other: Node) -> Node:
    """What a relation says that something is; its left side, if the name stands on the right."""
    left, right = relation.sides[0], relation.sides[-1]
    turned = isinstance(right, Symbol) and not isinstance(left, Symbol) and other != right
    return left if turned and "in" not in relation.signs else right


def _ascending(relation: Relation) -> Relation:
    """A chain that goes from smaller to larger."""
    if relation.signs and all(sign in (">", ">=") for sign in relation.signs):
        signs = tuple(_FLIPPED[sign] for sign in reversed(relation.signs))
        return Relation(relation.sides[::-1], signs)
    return relation


def _as_set(node: Node) -> Node | None:
    """The interval that inequalities of one variable say, or several; an interval as it is."""
    match node:
        case Brackets() | SetOperation():
            return node
        case Relation(sides, ("in",)):
            return sides[1]
        case Relation():
            return _interval(_ascending(node))
        case Listing(items):
            parts = [_as_set(item) for item in items if isinstance(item, Relation)]
            if len(parts) == len(items) and None not in parts:
                return SetOperation("cup", tuple(part for part in parts if part is not None))
    return None


def _interval(relation: Relation) -> Node | None:
    if not set(relation.signs) <= {"<", "<="}:
        return None
    opening = ["(" if sign == "<" else "[" for sign in relation.signs]
    closing = [")" if sign == "<" else "]" for sign in relation.signs]
    above, below = _INFINITE
    match relation.sides:
        case (Symbol(), Symbol()):
            return None
        case (Symbol(), end):
            return Brackets("(", (below, end), closing[0])
        case (start, Symbol()):
            return Brackets(opening[0], (start, above), ")")
        case (start, Symbol(), end):
            return Brackets(opening[0], (start, end), closing[1])
    return None

"""What an answer says: the tree that `grammar` reads and `comparison` compares.

Expressions are numbers, symbols, constants, sums, products, powers and calls of functions. Around
them stand relations and collections. Equal trees compare equal and hash alike.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

Rational = int | Fraction


@dataclass(frozen=True, slots=True)
class Number:
    """A number as it was written."""

    value: Rational
    # Digits after the decimal point; None for an integer or a fraction.
    places: int | None = None


@dataclass(frozen=True, slots=True)
class Symbol:
    """A variable, with its subscript."""

    name: str


@dataclass(frozen=True, slots=True)
class Constant:
    """One of the numbers that have a name."""

    name: Literal["pi", "e", "i", "infinity"]


@dataclass(frozen=True, slots=True)
class Sum:
    """The sum of terms."""

    terms: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Product:
    """The product of factors; a quotient has a factor with exponent -1."""

    factors: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Power:
    """A base to an exponent; roots have a fraction as exponent."""

    base: "Node"
    exponent: "Node"


@dataclass(frozen=True, slots=True)
class Call:
    """A function of arguments; `log` has its base as the second argument."""

    name: str
    arguments: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Measured:
    """A number with a percent or degree sign."""

    unit: Literal["percent", "degree"]
    value: "Node"


@dataclass(frozen=True, slots=True)
class InBase:
    """Digits in a number base that is written out."""

    digits: str
    base: int


@dataclass(frozen=True, slots=True)
class Brackets:
    """Items between brackets: a tuple, or, if there are two, perhaps an interval."""

    opening: str
    items: tuple["Node", ...]
    closing: str


@dataclass(frozen=True, slots=True)
class Listing:
    """Answers side by side in any order: between commas, by "and" or "or", by a plus-minus sign."""

    items: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Braces:
    """A set of elements; without any it is the empty set."""

    items: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Ratio:
    """Three or more parts in proportion."""

    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class SetOperation:
    r"""Sets joined by `\cup`, `\cap` or `\setminus`."""

    name: Literal["cup", "cap", "setminus"]
    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    """Rows of entries, all of one length."""

    rows: tuple[tuple["Node", ...], ...]


@dataclass(frozen=True, slots=True)
class Relation:
    """A chain of sides with the signs between them: `=`, `<`, `<=`, `>`, `>=`, `!=`, `in`."""

    sides: tuple["Node", ...]
    signs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Words:
    """Text that means itself."""

    text: str


Node = (
    Number
    | Symbol
    | Constant
    | Sum
    | Product
    | Power
    | Call
    | Measured
    | InBase
    | Brackets
    | Listing
    | Braces
    | Ratio
    | SetOperation
    | Matrix
    | Relation
    | Words
)

# What has a value, or would have one if its symbols had.
EXPRESSIONS = (Number, Symbol, Constant, Sum, Product, Power, Call, Measured, InBase)


def negative(node: Node) -> Node:
    """The node with a minus sign."""
    if isinstance(node, Number):
        return Number(-node.value, node.places)
    if isinstance(node, Measured):
        return Measured(node.unit, negative(node.value))
    return Product((Number(-1), node))


def quotient(above: Node, below: Node) -> Node:
    """One node by another; the quotient of two integers is a number."""
    if isinstance(above, Number) and isinstance(below, Number) and below.value:
        return Number(simplified(Fraction(above.value) / below.value))
    return Product((above, Power(below, Number(-1))))


def simplified(value: Rational) -> Rational:
    """An integer where it is one."""
    return value.numerator if value.denominator == 1 else value

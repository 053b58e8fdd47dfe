r"""Exact equality of expressions: quotients of polynomials with rational coefficients.

The polynomials are in *atoms*: symbols, $\pi$, $e$, -1 and prime numbers under a root, and whatever
is not taken apart, such as $\sin(x)$ or $2^x$, in one text. $\sqrt{12}$ is 2 times the atom 3 to
the power 1/2, and $i$ the atom -1 to the power 1/2. Powers of integer atoms stay between 0 and 1,
so that equal polynomials have equal terms. Two quotients a/b and c/d are equal if ad and cb are.

Equal forms prove that expressions are equal. Different forms prove that they differ only where no
relation holds between the atoms: symbols, roots of primes, i, and one of $\pi$ and $e$.

Work is counted and bounded: `TooMuch` is raised for what is left to others.
"""

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import lru_cache

from r1zero.tasks.answers.nodes import (
    Braces,
    Brackets,
    Call,
    Constant,
    InBase,
    Listing,
    Measured,
    Node,
    Number,
    Power,
    Product,
    Rational,
    Relation,
    Sum,
    Symbol,
    simplified,
)

Monomial = tuple[tuple[str, Rational], ...]
Polynomial = dict[Monomial, Rational]

_MOST_WORK = 20_000
_MOST_BITS = 40_000
_MOST_DEGREE = 64
_LARGEST_FACTORIAL = 4000
_TRIAL_DIVISORS = 1000
_ONE: Monomial = ()


class TooMuch(ValueError):
    """The form would take too long, or there is none."""


class Form:
    """A quotient of polynomials."""

    __slots__ = ("above", "below")

    def __init__(self, above: Polynomial, below: Polynomial) -> None:
        self.above = above
        self.below = below


def rational(node: Node) -> Rational | None:
    """The value of an expression of rational numbers alone; None if it is no such expression."""
    if isinstance(node, Number):
        return node.value
    try:
        form = form_of(node)
    except (ValueError, RecursionError):
        return None
    return _as_rational(form)


@lru_cache(maxsize=512)
def form_of(node: Node) -> Form:
    """The form of an expression; raises `TooMuch`."""
    return _Builder().form(node)


def equal(left: Node, right: Node) -> bool | None:
    """Whether two expressions are equal; None if these forms don't say."""
    try:
        return _equal(form_of(left), form_of(right))
    except (ValueError, RecursionError):
        return None


def key(node: Node) -> str:
    """One text for expressions of equal forms, and for collections of them in the same order."""
    match node:
        case Brackets(opening, items, closing):
            return f"{opening}{', '.join(map(key, items))}{closing}"
        case Listing(items) | Braces(items):
            return ", ".join(sorted(map(key, items)))
        case Relation(sides, signs):
            return f"{' '.join(map(key, sides))} {' '.join(signs)}"
    try:
        return _form_text(form_of(node))
    except (ValueError, RecursionError):
        return repr(node)


def proportional(left: Node, right: Node) -> int | None:
    """The sign of the constant that left is of right, 0 if there is none, None if unknown.

    Expressions with denominators stand for their numerators, as on one side of an equation.
    """
    try:
        a, b = form_of(left), form_of(right)
        if not a.above or not b.above:
            return int(not a.above and not b.above)
        builder = _Builder()
        # Powers below, such as 1/x, are multiplied out first.
        above, other = builder.integral(a.above), builder.integral(b.above)
        monomial = max(above)
        if monomial in other:
            ratio = Fraction(above[monomial]) / other[monomial]
            if above == {m: simplified(c * ratio) for m, c in other.items()}:
                return 1 if ratio > 0 else -1
        return 0 if _is_canonical(above, other) else None
    except (ValueError, RecursionError):
        return None


def _equal(left: Form, right: Form) -> bool | None:
    builder = _Builder()
    a = builder.times(left.above, right.below)
    b = builder.times(right.above, left.below)
    difference = builder.plus(a, {monomial: -value for monomial, value in b.items()})
    if not difference:
        return True
    return False if _is_canonical(difference) else None


def _is_canonical(*polynomials: Polynomial) -> bool:
    """Whether different polynomials are different functions."""
    atoms = {atom for p in polynomials for monomial in p for atom, _ in monomial}
    transcendental = atoms & {"pi", "e"}
    # A symbol has a letter first; what is not taken apart begins with a sign.
    return len(transcendental) <= 1 and all(
        atom[0] in "#:" and "^" not in atom and not atom.startswith("#?")
        for atom in atoms - {"pi", "e"}
    )


def _as_rational(form: Form) -> Rational | None:
    if form.below != {_ONE: 1} or form.above.keys() - {_ONE}:
        return None
    return form.above.get(_ONE, 0)


class _Builder:
    """Builds forms, and counts the work."""

    def __init__(self) -> None:
        self.work = 0

    def form(self, node: Node) -> Form:
        match node:
            case Number(value):
                return _constant(value)
            case Symbol(name):
                return _atom(":" + name)
            case Constant("i"):
                return _atom("#-1", Fraction(1, 2))
            case Constant("pi" | "e" as name):
                return _atom(name)
            case Sum(terms):
                result = self.form(terms[0])
                for term in terms[1:]:
                    result = self._plus(result, self.form(term))
                return result
            case Product(factors):
                result = self.form(factors[0])
                for factor in factors[1:]:
                    result = self._product(result, self.form(factor))
                return result
            case Power(base, exponent):
                return self._power(base, exponent)
            case Measured("percent", value):
                return self._product(self.form(value), _constant(Fraction(1, 100)))
            case Measured("degree", value):
                half_turn = Form({(("pi", 1),): Fraction(1, 180)}, {_ONE: 1})
                return self._product(self.form(value), half_turn)
            case InBase(digits, base):
                whole, _, decimals = digits.partition(".")
                return _constant(
                    simplified(Fraction(int(whole + decimals, base), base ** len(decimals)))
                )
            case Call():
                return self._call(node)
        raise TooMuch("no expression")

    def times(self, left: Polynomial, right: Polynomial) -> Polynomial:
        if left == {_ONE: 1}:
            return right
        if right == {_ONE: 1}:
            return left
        self._count(len(left) * len(right))
        result: Polynomial = {}
        for a, x in left.items():
            for b, y in right.items():
                monomial, factor = _merged(a, b)
                value = result.get(monomial, 0) + self._checked(x * y) * factor
                if value:
                    result[monomial] = simplified(value)
                else:
                    result.pop(monomial, None)
        return _without_squares(self, result)

    def integral(self, polynomial: Polynomial) -> Polynomial:
        """The polynomial times the powers that make all its exponents positive."""
        lowest: dict[str, Rational] = {}
        for monomial in polynomial:
            for atom, exponent in monomial:
                lowest[atom] = min(lowest.get(atom, 0), exponent)
        factor = tuple((atom, -e) for atom, e in sorted(lowest.items()) if e < 0)
        return self.times(polynomial, {factor: 1})

    def _plus(self, left: Form, right: Form) -> Form:
        if left.below == right.below:
            return Form(self.plus(left.above, right.above), left.below)
        above = self.plus(self.times(left.above, right.below), self.times(right.above, left.below))
        return Form(above, self.times(left.below, right.below))

    def plus(self, left: Polynomial, right: Polynomial) -> Polynomial:
        self._count(len(right))
        result = dict(left)
        for monomial, value in right.items():
            total = result.get(monomial, 0) + value
            if total:
                result[monomial] = simplified(total)
            else:
                result.pop(monomial, None)
        return result

    def _product(self, left: Form, right: Form) -> Form:
        return Form(self.times(left.above, right.above), self.times(left.below, right.below))

    def _inverse(self, form: Form) -> Form:
        if not form.above:
            raise TooMuch("division by zero")
        if len(form.above) > 1:
            return Form(form.below, form.above)
        # One term goes above, with its exponents turned round.
        ((monomial, value),) = form.above.items()
        inverse, factor = _normal({atom: -exponent for atom, exponent in monomial})
        return Form(
            self.times(form.below, {inverse: simplified(Fraction(factor) / value)}), {_ONE: 1}
        )

    def _power(self, base: Node, exponent: Node) -> Form:
        to = self.form(exponent)
        value = _as_rational(to)
        if value is None:
            return self._symbolic_power(base, to)
        of = self.form(base)
        if isinstance(value, int):
            return self._integer_power(of, value)
        return self._root(of, value)

    def _integer_power(self, form: Form, exponent: int) -> Form:
        if exponent < 0:
            return self._integer_power(self._inverse(form), -exponent)
        terms = max(len(form.above), len(form.below))
        if terms > 1 and exponent > _MOST_DEGREE:
            raise TooMuch("a power of a sum")
        bits = max(map(_bits, (*form.above.values(), *form.below.values())), default=0)
        if bits * exponent > _MOST_BITS:
            raise TooMuch("a large number")
        if terms == 1 and form.below == {_ONE: 1}:
            ((monomial, value),) = form.above.items()
            raised, factor = _normal({atom: e * exponent for atom, e in monomial})
            above = {raised: simplified(value**exponent * factor)}
            return Form(_without_squares(self, above), form.below)
        result = _constant(1)
        for bit in bin(exponent)[2:]:
            result = self._product(result, result)
            if bit == "1":
                result = self._product(result, form)
        return result

    def _root(self, form: Form, exponent: Fraction) -> Form:
        """A form to a power that is no integer."""
        if form.below != {_ONE: 1}:
            below = self._root(Form(form.below, {_ONE: 1}), exponent)
            above = self._root(Form(form.above, {_ONE: 1}), exponent)
            return self._product(above, self._inverse(below))
        if not form.above:
            return _constant(0)
        # The common factor of the coefficients comes out of the root.
        content = _content(form.above)
        if len(form.above) > 1 and form.above[max(form.above)] < 0 and exponent.denominator % 2:
            content = -content
        rest = {m: simplified(Fraction(v) / content) for m, v in form.above.items()}
        result = self._rational_root(content, exponent)
        if rest == {_ONE: 1}:
            return result
        if len(rest) == 1:
            ((monomial, sign),) = rest.items()
            if sign == 1 and len(monomial) == 1:
                ((atom, power),) = monomial
                if power == 1 or atom == "e":
                    raised, factor = _normal({atom: power * exponent})
                    return self._product(result, Form({raised: factor}, {_ONE: 1}))
        if content < 0:
            raise TooMuch("a root of a negative number")
        return self._product(result, _atom(f"({_text(rest)})", exponent))

    def _rational_root(self, value: Rational, exponent: Fraction) -> Form:
        if exponent.denominator > _MOST_DEGREE or abs(exponent) > _MOST_DEGREE:
            raise TooMuch("a high root")
        powers: dict[str, Rational] = {}
        sign: Rational = 1
        if value < 0 and exponent.denominator % 2:
            sign = -1 if exponent.numerator % 2 else 1  # the real root
        elif value < 0:
            if exponent.denominator != 2:
                raise TooMuch("a complex root")
            powers["#-1"] = exponent
        for part, direction in ((value.numerator, 1), (value.denominator, -1)):
            for prime, count in _factors(abs(part)).items():
                powers[prime] = powers.get(prime, 0) + direction * count * exponent
        monomial, factor = _normal(powers)
        return Form({monomial: simplified(sign * factor)}, {_ONE: 1})

    def _symbolic_power(self, base: Node, exponent: Form) -> Form:
        """A power whose exponent has symbols or other atoms: the product of one for each term."""
        if exponent.below != {_ONE: 1}:
            raise TooMuch("a quotient as exponent")
        of = self.form(base)
        value = _as_rational(of)
        bases: dict[str, Rational]
        if value is not None:
            if value <= 0:
                raise TooMuch("a power of a negative number")
            bases = dict(_factors(value.numerator))
            for prime, count in _factors(value.denominator).items():
                bases[prime] = -count
        elif len(of.above) == 1 and of.below == {_ONE: 1} and next(iter(of.above.values())) == 1:
            bases = dict(next(iter(of.above)))
            if len(bases) > 1 or any(e != 1 for e in bases.values()):
                raise TooMuch("a power of a product")
        else:
            raise TooMuch("a power of a sum")
        result = _constant(1)
        for monomial, value in exponent.above.items():
            for name, times in bases.items():
                if monomial:
                    term = _atom(f"{name}^({_text({monomial: 1})})", simplified(value * times))
                else:
                    raised, factor = _normal({name: value * times})
                    term = Form({raised: factor}, {_ONE: 1})
                result = self._product(result, term)
        return result

    def _call(self, node: Call) -> Form:
        name, arguments = node.name, node.arguments
        if name == "log" and len(arguments) == 2:
            below = self._logarithm(self.form(arguments[1]))
            return self._product(self._logarithm(self.form(arguments[0])), self._inverse(below))
        if name in _QUOTIENTS:
            above, below_name = _QUOTIENTS[name]
            result = self.form(Call(below_name, arguments))
            inverse = self._inverse(result)
            return self._product(self.form(Call(above, arguments)), inverse) if above else inverse
        forms = [self.form(argument) for argument in arguments]
        values = [_as_rational(form) for form in forms]
        if name in ("sin", "cos") and len(forms) == 1:
            return self._circular(name, forms[0])
        known = _KNOWN.get(name)
        if known and None not in values:
            return _constant(simplified(known(*(value for value in values if value is not None))))
        if name == "abs" and len(forms) == 1 and forms[0].below == {_ONE: 1}:
            forms = [Form(_positive(forms[0].above)[0], {_ONE: 1})]
        return _atom(f"{name}({', '.join(map(_form_text, forms))})")

    def _logarithm(self, form: Form) -> Form:
        """A natural logarithm, as a sum of those of primes where it is one of a number."""
        if form.below == {_ONE: 1} and len(form.above) == 1:
            ((monomial, value),) = form.above.items()
            if value > 0 and all(atom == "e" or atom[0] == "#" for atom, _ in monomial):
                result: Polynomial = {}
                parts = [(p, c) for p, c in _factors(value.numerator).items()]
                parts += [(p, -c) for p, c in _factors(value.denominator).items()]
                for atom, count in (*parts, *monomial):
                    if atom == "#-1":
                        raise TooMuch("the logarithm of a complex number")
                    term = _ONE if atom == "e" else ((f"ln {atom}", 1),)
                    result[term] = simplified(result.get(term, 0) + count)
                return Form({m: v for m, v in result.items() if v}, {_ONE: 1})
        return _atom(f"ln({_form_text(form)})")

    def _circular(self, name: str, form: Form) -> Form:
        """A sine or cosine: its value at multiples of a twelfth of a turn, else an atom."""
        if form.below != {_ONE: 1}:
            return _atom(f"{name}({_form_text(form)})")
        turn = form.above.get((("pi", 1),), 0)
        if not form.above or (len(form.above) == 1 and turn):
            quarter = 0 if name == "sin" else Fraction(1, 2)
            angle = Fraction(turn + quarter) % 2  # a sine in half turns
            sign = -1 if angle >= 1 else 1
            square = _SQUARES_OF_SINES.get(angle % 1)
            if square is not None:
                root = self._root(_constant(square), Fraction(1, 2)) if square else _constant(0)
                return self._product(_constant(sign), root)
        argument, turned = _positive(form.above)
        sign = -1 if turned and name == "sin" else 1
        atom = _atom(f"{name}({_text(argument)})")
        return self._product(_constant(sign), atom)

    def _count(self, work: int) -> None:
        self.work += work
        if self.work > _MOST_WORK:
            raise TooMuch("many terms")

    def _checked(self, value: Rational) -> Rational:
        bits = _bits(value)
        if bits > 64:
            if bits > 2 * _MOST_BITS:
                raise TooMuch("a large number")
            self._count(bits // 64)
        return value


_QUOTIENTS = {
    "tan": ("sin", "cos"),
    "cot": ("cos", "sin"),
    "sec": ("", "cos"),
    "csc": ("", "sin"),
}
# Of angles in half turns.
_SQUARES_OF_SINES: Mapping[Fraction, Rational] = {
    Fraction(0): 0,
    Fraction(1, 6): Fraction(1, 4),
    Fraction(1, 4): Fraction(1, 2),
    Fraction(1, 3): Fraction(3, 4),
    Fraction(1, 2): 1,
    Fraction(2, 3): Fraction(3, 4),
    Fraction(3, 4): Fraction(1, 2),
    Fraction(5, 6): Fraction(1, 4),
}


def _factorial(value: Rational) -> Rational:
    if not isinstance(value, int) or not 0 <= value <= _LARGEST_FACTORIAL:
        raise TooMuch("a large factorial")
    return math.factorial(value)


def _binomial(n: Rational, k: Rational) -> Rational:
    if not (isinstance(n, int) and isinstance(k, int) and 0 <= n <= _LARGEST_FACTORIAL and k >= 0):
        raise TooMuch("a large binomial coefficient")
    return math.comb(n, k)


def _of_integers(function: Callable[..., int]) -> Callable[..., Rational]:
    def checked(*values: Rational) -> Rational:
        if not all(isinstance(value, int) for value in values):
            raise TooMuch("no integers")
        return function(*values)

    return checked


_KNOWN: Mapping[str, Callable[..., Rational]] = {
    "factorial": _factorial,
    "binomial": _binomial,
    "abs": abs,
    "floor": math.floor,
    "ceiling": math.ceil,
    "gcd": _of_integers(math.gcd),
    "lcm": _of_integers(math.lcm),
    "max": max,
    "min": min,
}


def _constant(value: Rational) -> Form:
    return Form({_ONE: value} if value else {}, {_ONE: 1})


def _atom(name: str, exponent: Rational = 1) -> Form:
    return Form({((name, exponent),): 1}, {_ONE: 1})


def _merged(left: Monomial, right: Monomial) -> tuple[Monomial, Rational]:
    """The product of two monomials, and the rational number that comes out of its roots."""
    if not left:
        return right, 1
    if not right:
        return left, 1
    powers: dict[str, Rational] = dict(left)
    for atom, exponent in right:
        powers[atom] = powers.get(atom, 0) + exponent
    return _normal(powers)


def _normal(powers: Mapping[str, Rational]) -> tuple[Monomial, Rational]:
    """Powers in order, those of integers between 0 and 1, with the number taken out of them."""
    found: list[tuple[str, Rational]] = []
    factor: Rational = 1
    for atom, exponent in sorted(powers.items()):
        if atom[0] == "#" and "^" not in atom:
            whole = math.floor(exponent)
            if whole:
                number = int(atom.lstrip("#?"))
                if _bits(number) * abs(whole) > _MOST_BITS:
                    raise TooMuch("a large number")
                factor *= Fraction(number) ** whole
            rest = exponent - whole
        else:
            rest = exponent
        if rest:
            found.append((atom, simplified(rest)))
    return tuple(found), simplified(factor)


@lru_cache(maxsize=1024)
def _factors(number: int) -> Mapping[str, int]:
    """Prime factors of a positive integer; one that is not found to be prime is marked."""
    found: dict[str, int] = {}
    if number.bit_length() > 4096:
        raise TooMuch("a large number")
    divisor = 2
    while divisor * divisor <= number and divisor < _TRIAL_DIVISORS:
        while number % divisor == 0:
            found[f"#{divisor}"] = found.get(f"#{divisor}", 0) + 1
            number //= divisor
        divisor += 1
    if number > 1:
        root = math.isqrt(number)
        if root * root == number and number >= _TRIAL_DIVISORS**2:
            return {**found, **{atom: 2 * count for atom, count in _factors(root).items()}}
        prime = number < _TRIAL_DIVISORS**2
        found[f"#{number}" if prime else f"#?{number}"] = 1
    return found


def _without_squares(builder: _Builder, polynomial: Polynomial) -> Polynomial:
    """The polynomial with the squares of sines as those of cosines."""
    while found := next(
        (
            (monomial, atom)
            for monomial in polynomial
            for atom, exponent in monomial
            if exponent >= 2 and atom.startswith("sin(")
        ),
        None,
    ):
        monomial, sine = found
        powers = dict(monomial)
        powers[sine] -= 2
        cosine = "cos" + sine[3:]
        value = polynomial[monomial]
        once, _ = _normal(powers)
        squared, _ = _normal({**powers, cosine: powers.get(cosine, 0) + 2})
        rest = {m: v for m, v in polynomial.items() if m != monomial}
        polynomial = builder.plus(rest, builder.plus({once: value}, {squared: -value}))
    return polynomial


def _positive(polynomial: Polynomial) -> tuple[Polynomial, bool]:
    """The polynomial or its negative, whichever begins with a plus, and whether it was turned."""
    if polynomial and polynomial[max(polynomial)] < 0:
        return {m: -v for m, v in polynomial.items()}, True
    return polynomial, False


def _content(polynomial: Polynomial) -> Rational:
    """What all coefficients have in common."""
    above = math.gcd(*(value.numerator for value in polynomial.values()))
    below = math.lcm(*(value.denominator for value in polynomial.values()))
    content = simplified(Fraction(above, below))
    return -content if len(polynomial) == 1 and next(iter(polynomial.values())) < 0 else content


def _bits(value: Rational) -> int:
    return max(abs(value.numerator).bit_length(), value.denominator.bit_length())


def _form_text(form: Form) -> str:
    return (
        f"{_text(form.above)}/{_text(form.below)}" if form.below != {_ONE: 1} else _text(form.above)
    )


def _text(polynomial: Polynomial) -> str:
    """One text for equal polynomials."""
    return "+".join(
        f"{value}*{'*'.join(f'{atom}**{exponent}' for atom, exponent in monomial)}"
        for monomial, value in sorted(polynomial.items())
    )

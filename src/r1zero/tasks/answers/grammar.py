r"""The grammar of answers: from tokens to one tree, as far as they say something.

    listing    = relation {("," | ";" | "and" | "or") relation}
    relation   = union {("=" | "<" | "<=" | ">" | ">=" | "!=" | "~" | "in") union}
    union      = ratio {("cup" | "cap" | "setminus") ratio}
    ratio      = sum {":" sum}
    sum        = [sign] product {sign product}                  sign = "+" | "-" | "+-" | "-+"
    product    = power {["*" | "/"] power}                      without a sign, by juxtaposition
    power      = primary {"!" | "%" | degrees | "'" | "^" script | "_" script}
    primary    = number | mixed number | digits "_" base | letters | constant | function
               | "\frac" part part | "\sqrt" ["[" sum "]"] part | "(" listing ")" | "|" sum "|"
               | "\{" [listing] "\}" | matrix

A mixed number is an integer before a proper fraction: `2\frac{1}{3}`, `2 1/3`. Before any other
fraction of integers it would be unclear, and is refused. `\frac12` takes digits one by one, as in
TeX; `2^10` means the power ten, as it is meant. Letters side by side are a product, unless they
name a function or a constant.

Two readings are common for a slash before a product or after a function without parentheses:
`1/2x` and `\ln 2/3`. `Parser.slash_is_ambiguous` says that one was met, `tight` chooses.

Depth is bounded; the time is linear in the number of tokens.
"""

from collections.abc import Sequence
from fractions import Fraction

from r1zero.tasks.answers.cursor import Foreign, Unreadable
from r1zero.tasks.answers.nodes import (
    EXPRESSIONS,
    Braces,
    Brackets,
    Call,
    Constant,
    Listing,
    Matrix,
    Measured,
    Node,
    Number,
    Power,
    Product,
    Ratio,
    Relation,
    SetOperation,
    Sum,
    Symbol,
    Words,
    negative,
    quotient,
)
from r1zero.tasks.answers.numerals import Numerals, number
from r1zero.tasks.answers.tokens import END, Token
from r1zero.tasks.answers.vocabulary import (
    DECORATIONS,
    FRACTIONS,
    FUNCTIONS,
    GREEK,
    INFINITY,
    SEPARATORS,
    is_word,
    names_a_thing,
)

_RELATIONS = {
    "=": "=",
    "~": "=",
    "<": "<",
    "<=": "<=",
    ">": ">",
    ">=": ">=",
    "!=": "!=",
    "in": "in",
}
_CLOSING = {"(": (")", "]"), "[": ("]", ")")}
_HALF, _MINUS_ONE = Number(Fraction(1, 2)), Number(-1)
_MATRICES = ("matrix", "pmatrix", "bmatrix", "smallmatrix")


class Parser(Numerals):
    """Recursive descent over the tokens of one answer.

    Args:
        tokens: All tokens.
        numbers: The answer is a number: letters after one are a unit, not variables.
        tight: Juxtaposition binds more tightly than a slash, which belongs to the argument of a
            function without parentheses.
        lower: Read `+-` as minus.
        clock: Two numbers with a colon between them are a time of day, not a ratio.

    """

    def __init__(
        self,
        tokens: Sequence[Token],
        *,
        numbers: bool = False,
        tight: bool = False,
        lower: bool = False,
        clock: bool = False,
    ) -> None:
        super().__init__(tokens)
        self.numbers = numbers
        self.tight, self.slash_is_ambiguous = tight, False
        self.lower, self.met_plus_minus = lower, False
        self.clock, self.time_is_ambiguous = clock, False
        self._bars = 0  # absolute values that are open

    def listing(self) -> Node:
        """Items between separators; the item itself if it is alone."""
        items = [self.relation()]
        while self._separator():
            items.append(self.relation())
        return items[0] if len(items) == 1 else Listing(tuple(items))

    def relation(self) -> Node:
        """One item."""
        words = self._words()
        if words:
            return words
        sides, signs = [self._union()], []
        while self.next.kind == "sign" and self.next.text in _RELATIONS:
            signs.append(_RELATIONS[self._take().text])
            sides.append(self._union())
        return Relation(tuple(sides), tuple(signs)) if signs else sides[0]

    def _separator(self) -> bool:
        """Take what separates two items, if it is followed by another."""
        start = self.position
        found = False
        while self.at(",", ";", "&") or self.next.text.lower() in SEPARATORS:
            self.position += 1
            found = True
        closed = self.next.kind == "end" or self.at(".", ")", "]", r"\}", "}")
        # After a number, words are no more of its kind.
        prose = self.next.kind == "letters" and (self.numbers or self.tokens[0].kind == "number")
        if found and not closed and not (prose and is_word(self.next, None)):
            return True
        self.position = start
        return False

    def _words(self) -> Node | None:
        """Words up to the end of an item; none if there is anything else in it."""
        start, found = self.position, list[str]()
        while is_word(self.next, None) and self.next.text.lower() not in SEPARATORS:
            found.append(self._take().text)
            if self.at("-") and is_word(self.tokens[self.position + 1], None):
                self.position += 1
        if not found and names_a_thing(self.next):
            found.append(self._take().text)
        closed = self.next.kind == "end" or self.at(",", ";", ".", ")", "]", r"\}", "&", r"\\", "}")
        if found and (closed or self.next.text.lower() in SEPARATORS):
            return Words(" ".join(found).casefold())
        self.position = start
        return None

    def _union(self) -> Node:
        parts, name = [self._ratio()], ""
        while (sign := self._set_sign(parts[-1])) and name in ("", sign):
            self.position += 1
            name = sign
            parts.append(self._ratio())
        if not name:
            return parts[0]
        return SetOperation(name, tuple(parts))  # type: ignore[arg-type]

    def _set_sign(self, before: Node) -> str:
        """The operation between two sets; a capital U after an interval is one."""
        if self.at("cup", "cap", "setminus"):
            return self.next.text
        return "cup" if self.next.text == "U" and isinstance(before, Brackets) else ""

    def _ratio(self) -> Node:
        if time := self._time():
            return time
        parts = [self._sum()]
        while self.at(":") and self.tokens[self.position + 1].kind != "end":
            self.position += 1
            parts.append(self._sum())
        if len(parts) == 1:
            return parts[0]
        if self.numbers:
            raise Unreadable("a ratio, not a number")
        for part in parts:
            _check_expression(part)
        return _divided(*parts) if len(parts) == 2 else Ratio(tuple(parts))

    def _time(self) -> Node | None:
        """A time of day: 05:00 or 8:34 p.m., and 8:34 if `clock` says so."""
        window = [*self.tokens[self.position : self.position + 3], END, END]
        hours, colon, minutes = window[:3]
        if (hours.kind, colon.text, minutes.kind) != ("number", ":", "number"):
            return None
        if not (hours.text.isdecimal() and minutes.text.isdecimal() and len(minutes.text) == 2):
            return None
        after = [token.text.lower() for token in self.tokens[self.position + 3 :]]
        half = "".join(text for text in after if text != ".")
        certain = half in ("am", "pm") or minutes.text[0] == "0" or hours.text[0] == "0"
        if half not in ("", "am", "pm") or not (certain or self.clock):
            self.time_is_ambiguous |= not half
            return None
        self.position = len(self.tokens) - 3
        return Words(f"{int(hours.text)}:{minutes.text} {half}".strip())

    def _sum(self) -> Node:
        terms = []
        minus = self._signs()
        while True:
            term = self._product()
            if minus:
                _check_expression(term)
                term = negative(term)
            terms.append(term)
            if not self.at("+", "-", "+-", "-+") or self._is_hyphen():
                break
            minus = self._signs()
        if len(terms) == 1:
            return terms[0]
        for term in terms:
            _check_expression(term)
        return Sum(tuple(terms))

    def _is_hyphen(self) -> bool:
        """Whether a minus sign joins a number to a word, as in `25-year-old`."""
        following = self.tokens[self.position + 1]
        return self.numbers and is_word(following, None) and not following.spaced

    def _signs(self) -> bool:
        """Take all signs that follow; whether they make a minus."""
        minus = False
        while self.at("+", "-", "+-", "-+"):
            sign = self._take().text
            if sign in ("+-", "-+"):
                self.met_plus_minus = True
                minus ^= self.lower == (sign == "+-")
            else:
                minus ^= sign == "-"
        return minus

    def _product(self) -> Node:
        """A product, from left to right."""
        result = self._juxtaposed() if self.tight else self._power()
        while True:
            if self.at("*", "/"):
                divides = self._take().text == "/"
                minus = self._signs()
                factor = self._juxtaposed() if self.tight else self._power()
                _check_expression(result)
                _check_expression(factor)
                factor = negative(factor) if minus else factor
                result = _divided(result, factor) if divides else _times(result, factor)
                if divides and self._another_factor():
                    self.slash_is_ambiguous = True
            elif self._is_times():
                self.position += 1
                result = _times(result, self._power())
            elif not self.tight and self._another_factor():
                result = _times(result, self._power())
            else:
                return result

    def _juxtaposed(self) -> Node:
        result = self._power()
        while self._another_factor() and not self._is_times():
            if isinstance(result, Product):
                self.slash_is_ambiguous = True
            result = _times(result, self._power())
        return result

    def _is_times(self) -> bool:
        """Whether a letter x between two numbers is a sign, as in `1.5 x 10^3`."""
        before, here, after = (
            self.tokens[max(self.position - 1, 0)],
            self.next,
            self.tokens[min(self.position + 1, len(self.tokens) - 1)],
        )
        return (
            here.text in ("x", "X")
            and here.kind == "letters"
            and here.spaced
            and before.kind == after.kind == "number"
            and after.spaced
        )

    def _another_factor(self) -> bool:
        """Whether what follows is multiplied without a sign."""
        token = self.next
        if token.kind == "letters":
            before = self.tokens[self.position - 1] if self.position else None
            joins = token.text == "U" and before is not None and before.text in (")", "]")
            return not (
                joins
                or token.text.lower() in SEPARATORS
                or is_word(token, before, numbers=self.numbers)
            )
        if token.kind == "command":
            return _begins_factor(token) and not self._holds_words(token.text in FRACTIONS)
        if token.text == "(":
            return not self._holds_words(here=True)
        if token.kind == "number":  # 5!3!
            return self.tokens[self.position - 1].text == "!" and not token.spaced
        return token.kind == "sign" and (
            token.text == "{" or (token.text == "|" and not self._bars)
        )

    def _holds_words(self, here: bool) -> bool:
        r"""Whether words follow an opening bracket: `5 (of 9)`, `\frac{\text{km}}{h}`."""
        inside = self.tokens[self.position + 1 : self.position + 3]
        inside = inside[1:] if inside and inside[0].text == "{" else inside[:1]
        return here and bool(inside) and is_word(inside[0], None)

    def _power(self) -> Node:
        node = self._deeper(self._primary)
        while self.next.kind == "sign":
            if self.at("^"):
                self.position += 1
                node = self._raised(node)
            elif self.at("!") and self.tokens[self.position + 1].text != "!":
                self.position += 1
                _check_expression(node)
                node = Call("factorial", (node,))
            elif self.at("%", "degree"):
                _check_expression(node)
                node = Measured("percent" if self._take().text == "%" else "degree", node)
            elif self.at("'") and isinstance(node, Symbol):
                self.position += 1
                node = Symbol(node.name + "'")
            elif self.at("_") and isinstance(node, Symbol):
                self.position += 1
                node = Symbol(f"{node.name}_{self._script_text()}")
            else:
                break
        return node

    def _raised(self, base: Node) -> Node:
        """What a script above makes of a base."""
        if self._skip_degree():
            _check_expression(base)
            return Measured("degree", base)
        script = self._deeper(self._script)
        if isinstance(base, Number) and script == Symbol("o"):
            return Measured("degree", base)
        if isinstance(script, Words) or script == Symbol("o"):
            if isinstance(base, Number) and isinstance(script, Words):  # 5th
                return base
            raise Unreadable("words in an exponent")
        _check_expression(base)
        _check_expression(script)
        return Power(base, script)

    def _skip_degree(self) -> bool:
        start = self.position
        group = self._skip("{")
        if self.next.text in ("circ", "degree") or (group and self.next == Token("letters", "o")):
            self.position += 1
            if not group or self._skip("}"):
                return True
        self.position = start
        return False

    def _script(self) -> Node:
        """What stands after `^`."""
        if self.at("{"):
            return self._group()
        if self.at("+", "-"):
            return negative(self._power()) if self._signs() else self._power()
        if self.next.kind == "letters" and len(self.next.text) > 1 and not self._is_named():
            return self._first_letter()
        if self.at("("):
            return self._primary()
        return self._power() if self.next.kind != "letters" else self._primary()

    def _primary(self) -> Node:
        based = self._in_base()
        if based:
            return based
        token = self._take()
        if token.kind == "number":
            return self._number(token)
        if token.kind == "letters":
            return self._letters(token)
        if token.kind == "command":
            return self._command(token)
        if token.kind == "sign":
            if token.text in _CLOSING:
                return self._brackets(token.text)
            if token.text == "{":
                self.position -= 1
                return self._group()
            if token.text == r"\{":
                return self._braces()
            if token.text == "|":
                return self._absolute()
        raise Unreadable(f"unexpected {token.text or 'end'}")

    def _letters(self, token: Token) -> Node:
        """Letters: a function, a constant, or variables side by side."""
        text = token.text
        name = FUNCTIONS.get(text)
        if name and (len(text) > 1 or self.at("(")):
            return self._function(name)
        if text in INFINITY:
            return Constant("infinity")
        if text in ("pi", "Pi"):
            return Constant("pi")
        if text in GREEK:
            return Symbol(text)
        if text in ("f", "g", "h") and self.at("(") and not self.next.spaced:
            self.position += 1
            arguments = self._brackets("(")
            return Call(text, arguments.items if isinstance(arguments, Brackets) else (arguments,))
        if len(text) == 1:
            return _letter(text)
        # A function's name may stand right after variables, as in xsin(x).
        for start in range(1, len(text) - 1):
            if text[start:] in FUNCTIONS and self.at("(", "^") and len(text) - start > 1:
                rest = Token("letters", text[start:])
                self.position -= 1
                self.tokens[self.position] = rest
                return _product_of_letters(text[:start])
        if (token.upright and len(text) > 1) or len(text) > 4:
            raise Unreadable("a word")
        # Only the last of them is raised or has a subscript.
        self.position -= 1
        self.tokens[self.position] = Token("letters", text[-1])
        return _product_of_letters(text[:-1])

    def _is_named(self) -> bool:
        text = self.next.text
        return text in FUNCTIONS or text in INFINITY or text in GREEK or text == "pi"

    def _first_letter(self) -> Node:
        token = self._take()
        self.position -= 1
        self.tokens[self.position] = Token("letters", token.text[1:])
        return _letter(token.text[0])

    def _command(self, token: Token) -> Node:
        name = token.text
        if name in FRACTIONS:
            above, below = self._part(), self._part()
            return _divided(above, below)
        if name == "sqrt":
            return self._root()
        if name in ("surd", "cuberoot"):
            inner = self._deeper(self._power)
            _check_expression(inner)
            return Power(inner, _HALF if name == "surd" else Number(Fraction(1, 3)))
        if name == "pi":
            return Constant("pi")
        if name == "infty":
            return Constant("infinity")
        if name in ("emptyset", "varnothing"):
            return Braces(())
        if name in ("imath", "i"):
            return Constant("i")
        if name in FUNCTIONS:
            return self._function(FUNCTIONS[name])
        if name in ("binom", "dbinom", "tbinom"):
            return Call("binomial", (self._part(), self._part()))
        if name in ("lfloor", "lceil"):
            inner = self._sum()
            if self._take().text != name.replace("l", "r", 1):
                raise Unreadable(f"{name} is not closed")
            return Call("floor" if name == "lfloor" else "ceiling", (inner,))
        if name == "begin":
            return self._matrix()
        if name in GREEK:
            return Symbol(GREEK[name])
        if name in DECORATIONS:
            return Symbol(f"{DECORATIONS[name]} {self._decorated()}")
        raise Foreign(f"\\{name}")

    def _decorated(self) -> str:
        if self.at("{"):
            return self._script_text()
        token = self._take()
        if token.kind not in ("letters", "number"):
            raise Unreadable("nothing to decorate")
        return token.text

    def _root(self) -> Node:
        index: Node = Number(2)
        if self._skip("["):
            index = self._sum()
            self._expect("]")
        if self.at("("):
            self.position += 1
            inner = self._brackets("(")
        else:
            inner = self._part()
        _check_expression(inner)
        _check_expression(index)
        return Power(inner, _divided(Number(1), index))

    def _part(self) -> Node:
        """An argument of a command: a group, or one digit, letter or command."""
        if self.at("{"):
            return self._group()
        if self.next.kind == "number":
            return number(self._digit())
        if self.next.kind == "letters" and len(self.next.text) > 1:
            return self._first_letter()
        return self._deeper(self._primary)

    def _group(self) -> Node:
        self._expect("{")
        bars, self._bars = self._bars, 0
        node = self._deeper(self.listing)
        self._bars = bars
        self._expect("}")
        return node

    def _brackets(self, opening: str) -> Node:
        """What stands in parentheses or brackets, after the first of them."""
        bars, self._bars = self._bars, 0
        node = self._deeper(self.listing)
        self._bars = bars
        closing = self._take().text
        if closing not in _CLOSING[opening]:
            raise Unreadable(f"{opening} is not closed")
        if isinstance(node, Listing):
            return Brackets(opening, node.items, closing)
        if {opening, closing} not in ({"(", ")"}, {"[", "]"}):
            raise Unreadable(f"{opening} is not closed")
        return node

    def _braces(self) -> Node:
        if self._skip(r"\}"):
            return Braces(())
        node = self._deeper(self.listing)
        self._expect(r"\}")
        return Braces(node.items if isinstance(node, Listing) else (node,))

    def _absolute(self) -> Node:
        self._bars += 1
        node = self._deeper(self._sum)
        self._bars -= 1
        self._expect("|")
        _check_expression(node)
        return Call("abs", (node,))

    def _function(self, name: str) -> Node:
        """A function that has been named, with its scripts and its argument."""
        exponent: Node | None = None
        base: Node | None = None
        # log2(8), where nothing but the base can stand
        if (
            name == "log"
            and self.next.kind == "number"
            and not self.next.spaced
            and self.tokens[self.position + 1].text == "("
        ):
            base = number(self._take().text)
        while self.at("^", "_"):
            if self._take().text == "^":
                exponent = self._deeper(self._script)
            else:
                base = self._deeper(self._subscript)
        if name in ("sqrt", "cbrt"):
            inner = self._bare_root() if not self.at("(", "{") else self._argument()[0]
            node: Node = Power(inner, _HALF if name == "sqrt" else Number(Fraction(1, 3)))
        elif name == "exp":
            node = Power(Constant("e"), *self._argument())
        elif name == "ln":
            node = Call("log", (*self._argument(), Constant("e")))
        elif name == "log":
            node = Call("log", (*self._argument(), base or Number(10)))
        else:
            if exponent == _MINUS_ONE and f"arc{name}" in FUNCTIONS:
                name, exponent = f"arc{name}", None
            node = Call(name, self._argument())
        if base is not None and name != "log":
            raise Unreadable(f"a subscript of {name}")
        return node if exponent is None else Power(node, exponent)

    def _subscript(self) -> Node:
        if self.at("{"):
            return self._group()
        if self.next.kind == "number":
            # In \log_28 the base is 2, in log_10(x) it is 10.
            followed = self.tokens[self.position + 1]
            if followed.text in ("(", "{") or followed.kind in ("number", "letters", "command"):
                return number(self._take().text)
            return number(self._digit()) if len(self.next.text) > 1 else self._primary()
        return self._part()

    def _bare_root(self) -> Node:
        node = self._deeper(self._primary)
        _check_expression(node)
        return node

    def _argument(self) -> tuple[Node, ...]:
        """Arguments in parentheses, or the product that follows, up to another function."""
        if self.at("(", "{", "["):
            node = self._deeper(self._primary)
            found = node.items if isinstance(node, Brackets | Listing) else (node,)
        else:
            minus = self._signs()
            node = self._deeper(self._power)
            while self._another_factor() and not self._is_function():
                node = _times(node, self._power())
            if self.at("/") and not self._ends_at(1):
                self.slash_is_ambiguous = True
                if self.tight:
                    self.position += 1
                    node = _divided(node, self._deeper(self._power))
            found = (negative(node) if minus else node,)
        for part in found:
            _check_expression(part)
        return found

    def _ends_at(self, ahead: int) -> bool:
        return self.tokens[self.position + ahead].kind == "end"

    def _is_function(self) -> bool:
        return self.next.kind in ("letters", "command") and self.next.text in FUNCTIONS

    def _matrix(self) -> Node:
        r"""The rows between `\begin{pmatrix}` and its end."""
        name = self._script_text()
        if name not in _MATRICES:
            raise Foreign(f"\\begin{{{name}}}")
        rows: list[list[Node]] = [[]]
        while True:
            rows[-1].append(self._deeper(self._union))
            token = self._take()
            if token.text == "&":
                continue
            if token.text == r"\\":
                if self.next[:2] == ("command", "end"):
                    token = self._take()
                else:
                    rows.append([])
                    continue
            if token[:2] != ("command", "end") or self._script_text() != name:
                raise Unreadable("a matrix that is not closed")
            if len({len(row) for row in rows}) != 1:
                raise Unreadable("rows of different lengths")
            return Matrix(tuple(map(tuple, rows)))


def _letter(text: str) -> Node:
    if text == "e":
        return Constant("e")
    return Constant("i") if text == "i" else Symbol(text)


def _product_of_letters(text: str) -> Node:
    letters = [_letter(letter) for letter in text]
    return letters[0] if len(letters) == 1 else Product(tuple(letters))


def _times(left: Node, right: Node) -> Node:
    _check_expression(left)
    _check_expression(right)
    before = left.factors if isinstance(left, Product) else (left,)
    return Product((*before, right))


def _divided(above: Node, below: Node) -> Node:
    _check_expression(above)
    _check_expression(below)
    if isinstance(below, Number) and not below.value:
        raise Unreadable("division by zero")
    return quotient(above, below)


def _begins_factor(token: Token) -> bool:
    name = token.text
    return (
        name in FRACTIONS
        or name in FUNCTIONS
        or name in GREEK
        or name in DECORATIONS
        or name in ("sqrt", "surd", "cuberoot", "pi", "binom", "dbinom", "tbinom", "imath", "i")
        or name in ("lfloor", "lceil", "infty", "begin")
    )


def _check_expression(node: Node) -> None:
    if not isinstance(node, EXPRESSIONS):
        raise Unreadable("no expression")

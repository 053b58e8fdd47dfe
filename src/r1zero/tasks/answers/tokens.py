r"""The tokens of an answer, in LaTeX or plain text: what each sign and command stands for.

A number keeps its digits together whatever stands between its thousands: `70,000`, `70{,}000`,
`70,\!000`, `70 000`, `70_000`, `70~000`, `70\,000`. Two of these can mean something else, and are
decided by where they stand: a plain comma separates items inside brackets (`(5,125)`), unless a
group begins with 0 (`(1,000)`); elsewhere it may be either, and `Tokens.ambiguous` says so.

Signs and commands with one meaning become one token (`\leq`, `\le`, `≤`, `<=`). Commands of layout
(`\left`, `\,`, `\displaystyle`) and dollar signs are left out. What is set upright (`\text{}`,
`\mathrm{}`) is marked, since it tells words and units from products of variables.

The time is linear in the length of the text.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple

_GAP = r"(?:(?:\\text)?\{,\}|,\\!|\\[,;: ]|~|_|')"
_NUMBER = rf"""
    (?:
        [0-9]{{1,3}} (?: {_GAP} [0-9]{{3}} )+ (?![0-9])
      | [0-9]{{1,3}} (?: ,[0-9]{{3}} )+ (?![0-9])
      | [1-9][0-9]{{0,2}} (?: [ ][0-9]{{3}} )+ (?! [0-9] | [ ]?/ )
      | [0-9]+
    )
    (?: \.[0-9]+ | \.(?= \\(?:overline|bar|dot)(?![a-z]) | \([0-9]+\) ) )?
  | \.[0-9]+
  | \.(?=\\(?:overline|bar|dot)(?![a-z]))
"""
_TOKEN = re.compile(
    rf"""
    (?P<space> (?: \s | ~ | \\[,;:!>\s] | \\?\$ | \\[()\[\]] )+ )
  | (?P<number> (?:{_NUMBER}) (?: [eE][-+]?[0-9]+ (?![0-9A-Za-z.]) )? )
  | \\(?P<command> [A-Za-z]+ )
  | (?P<letters> [A-Za-z]+ )
  | (?P<sign> \\[{{}}%&\#|\\] | \*\* | \.\.\. | == | <= | >= | != | -> | := | . )
    """,
    re.VERBOSE | re.DOTALL,
)
_SEPARATORS = re.compile(rf"{_GAP}|[ ,]")

_LAYOUT = frozenset(
    "left right middle big Big bigg Bigg bigl bigr Bigl Bigr biggl biggr Biggl Biggr quad qquad "
    "displaystyle textstyle scriptstyle limits nolimits thinspace medspace thickspace enspace "
    "negthinspace strut mathstrut nonumber notag rm bf it sf tt normalfont bfseries large Large "
    "small hfill boldmath unboldmath ensuremath boxed fbox hbox displaylines".split()
)
_UPRIGHT = frozenset(
    "text textbf textit textrm texttt textsf textnormal textup textsc emph mbox mathrm mathbf "
    "mathit mathsf mathtt mathnormal operatorname bold boldsymbol bm underline rm bf hbox".split()
)
_SIGNS = {
    **dict.fromkeys(("times", "cdot", "ast", "bullet", "cdotp"), "*"),
    "div": "/",
    "colon": ":",
    **dict.fromkeys(("le", "leq", "leqslant", "leqq"), "<="),
    **dict.fromkeys(("ge", "geq", "geqslant", "geqq"), ">="),
    "lt": "<",
    "gt": ">",
    **dict.fromkeys(("ne", "neq"), "!="),
    **dict.fromkeys(("approx", "simeq", "sim", "approxeq", "thickapprox", "doteq"), "~"),
    "equiv": "==",
    "pm": "+-",
    "mp": "-+",
    **dict.fromkeys(("in", "isin"), "in"),
    **dict.fromkeys(("cup", "bigcup"), "cup"),
    **dict.fromkeys(("cap", "bigcap"), "cap"),
    "setminus": "setminus",
    "backslash": "setminus",
    "lbrace": r"\{",
    "rbrace": r"\}",
    "lbrack": "[",
    "rbrack": "]",
    **dict.fromkeys(("vert", "lvert", "rvert", "mid"), "|"),
    **dict.fromkeys(("ldots", "cdots", "dots", "dotsc", "dotsb"), "..."),
    "prime": "'",
    "langle": "(",
    "rangle": ")",
    "degree": "degree",
    "land": ",",
    "lor": ",",
    **dict.fromkeys(("to", "rightarrow", "Rightarrow", "implies", "longrightarrow"), "->"),
}
_PLAIN_SIGNS = {
    r"\%": "%",
    r"\&": "&",
    r"\#": "#",
    r"\|": "|",
    "**": "^",
    ":=": "=",
    "==": "=",
}
_CHARACTERS = str.maketrans(
    {
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2212\ufe63\uff0d", "-"),
        **dict.fromkeys("\u00a0\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f", " "),
        **dict.fromkeys("\u00d7\u00b7\u22c5\u2219\u2022\u2217", r"\times "),
        **dict.fromkeys("\u00f7\u2215\u2044", "/"),
        **dict.fromkeys("\u20ac\u00a3\u00a5\u20b9", "$"),
        **dict.fromkeys("\u2248\u2243\u223c", r"\approx "),
        **dict.fromkeys("\u2026\u22ef", "..."),
        **dict.fromkeys("\u2018\u2019\u2032", "'"),
        **dict.fromkeys("\u201c\u201d", '"'),
        **dict.fromkeys("\u2205\u00d8", r"\emptyset "),
        **dict.fromkeys("\u27e8\u2329", "("),
        **dict.fromkeys("\u27e9\u232a", ")"),
        "\u25b3": r"\triangle ",
        "\u2220": r"\angle ",
        "\u221a": r"\surd ",
        "\u221b": r"\cuberoot ",
        "\u00b0": r"^\circ ",
        "\u00ba": r"^\circ ",
        "\u221e": r"\infty ",
        "\u2264": "<=",
        "\u2265": ">=",
        "\u2260": "!=",
        "\u00b1": r"\pm ",
        "\u2213": r"\mp ",
        "\u2208": r"\in ",
        "\u222a": r"\cup ",
        "\u2229": r"\cap ",
        "\u2216": r"\setminus ",
        "\u2192": "->",
        "\u21d2": "->",
        "\u211d": r"\mathbb{R}",
        "\u2124": r"\mathbb{Z}",
        "\u2147": "e",
        "\u2148": "i",
        "\u00a2": " cents",
        "\u00bd": r"\frac{1}{2}",
        "\u2153": r"\frac{1}{3}",
        "\u2154": r"\frac{2}{3}",
        "\u00bc": r"\frac{1}{4}",
        "\u00be": r"\frac{3}{4}",
        "\u2155": r"\frac{1}{5}",
        "\u2156": r"\frac{2}{5}",
        "\u2157": r"\frac{3}{5}",
        "\u2158": r"\frac{4}{5}",
        "\u2159": r"\frac{1}{6}",
        "\u215a": r"\frac{5}{6}",
        "\u215b": r"\frac{1}{8}",
        "\u215c": r"\frac{3}{8}",
        "\u215d": r"\frac{5}{8}",
        "\u215e": r"\frac{7}{8}",
    }
    | {
        character: rf"\{name} "
        for character, name in zip(
            "αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΦΨΩϕϵ",
            "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma "
            "tau upsilon phi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega phi "
            "epsilon".split(),
            strict=True,
        )
    }
)
_RAISED = re.compile("[\u2070\u00b9\u00b2\u00b3\u2074-\u2079\u207a\u207b\u207d\u207e\u207f]+")
_LOWERED = re.compile("[\u2080-\u2089]+")
_RAISED_TO_PLAIN = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿ", "0123456789+-()n")
_LOWERED_TO_PLAIN = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_BOLD = re.compile(r"(?<![0-9A-Za-z*])(\*\*|__)(?=[^\s*])([^*_\n]*)\1(?![0-9A-Za-z*(])")
_NO_SIDE = re.compile(r"\\(left|right)\s*\.")
# A backslash that was escaped once more.
_DOUBLED = re.compile(r"\\(?=\\[A-Za-z{}%$])")
_ENDS = " \t\r\n*`_~"


# Commands that letters may follow without the space that TeX asks for, as in prepared data sets.
_SHORT = frozenset(
    (
        *(name for name in _SIGNS if len(name) > 2),
        *"sin cos tan sec csc cot log ln pi sqrt theta alpha beta triangle angle".split(),
    )
)
_LONG = frozenset("coth cosh sinh tanh ltimes leadsto".split())


class Token(NamedTuple):
    """One sign, number, command or run of letters."""

    kind: str
    """`number`, `letters`, `command`, `sign`; `end` after the last."""
    text: str
    """Digits without separators; letters; the command's name; the sign in one form."""
    spaced: bool = False
    """White space stands before it."""
    upright: bool = False
    """It is set as text."""


END = Token("end", "")


@dataclass(frozen=True, slots=True)
class Tokens:
    """All tokens of a text."""

    tokens: list[Token]
    # Commas between groups of three digits were read as thousands, and could separate items.
    ambiguous: bool


def tokenize(text: str, *, commas_separate: bool = False) -> Tokens:
    """Read a text as tokens.

    Args:
        text: The answer.
        commas_separate: Read plain commas between groups of three digits as separators of items.

    """
    if not text.isascii():
        text = _RAISED.sub(lambda match: f"^{{{match[0].translate(_RAISED_TO_PLAIN)}}}", text)
        text = _LOWERED.sub(lambda match: f"_{{{match[0].translate(_LOWERED_TO_PLAIN)}}}", text)
        text = text.translate(_CHARACTERS)
    if "**" in text or "__" in text:
        text = _BOLD.sub(r"\2", text)
    text = text.strip(_ENDS)
    if text.rstrip(".,; ")[-1:] in ("*", "`", "_"):
        text = text.rstrip(".,; ").rstrip(_ENDS)
    if len(text) > 2 and text[0] == text[-1] and text[0] in "\"'":
        text = text[1:-1]
    if r"\\" in text and r"\begin" not in text:
        text = _DOUBLED.sub("", text)
    if r"\left" in text:
        text = _NO_SIDE.sub(" ", text)
    return _Lexer(commas_separate).read(text)


class _Lexer:
    __slots__ = ("ambiguous", "braces", "commas_separate", "depth", "found", "upright")

    def __init__(self, commas_separate: bool) -> None:
        self.commas_separate = commas_separate
        self.ambiguous = False
        self.found: list[Token] = []
        self.upright = False
        # For each open brace: whether it is a token, and whether the text before was upright.
        self.braces: list[tuple[bool, bool]] = []
        self.depth = 0  # brackets around the items of a tuple or set

    def read(self, text: str) -> Tokens:
        position, spaced, opens_text = 0, False, False
        while position < len(text):
            match = _TOKEN.match(text, position)
            assert match is not None  # any character is a sign
            kind, found = match.lastgroup or "", match[match.lastgroup or 0]
            position = match.end()
            if kind == "space":
                spaced = True
                continue
            if kind == "number":
                found, position = self._number(match)
            elif kind == "command":
                if found in _UPRIGHT or found in _LAYOUT:
                    opens_text = found in _UPRIGHT
                    self.upright |= found in ("rm", "bf")
                    spaced |= found in _LAYOUT
                    continue
                found, position = self._command(found, position)
                if found in _SIGNS:
                    kind, found = "sign", _SIGNS[found]
            elif kind == "sign":
                found = _PLAIN_SIGNS.get(found, found)
                if found in "{}":
                    if not self._brace(found, opens_text):
                        opens_text = False
                        continue
                elif found in ("(", "[", r"\{"):
                    self.depth += 1
                elif found in (")", "]", r"\}"):
                    self.depth -= 1
            self.found.append(Token(kind, found, spaced, self.upright))
            spaced = opens_text = False
        return Tokens(self.found, self.ambiguous)

    def _number(self, match: re.Match[str]) -> tuple[str, int]:
        """Digits of a number without what separates its thousands, and where it ends."""
        found = match[0]
        if found.isdecimal():
            return found, match.end()
        groups, comma, _ = found.partition(",")
        if comma and groups.isdecimal() and found[len(groups) + 1] != "\\":
            certain = any(group.startswith("0") for group in found.split(",")[1:])
            if not certain and (self.commas_separate or self.depth > 0):
                return groups, match.start() + len(groups)
            self.ambiguous |= not certain
        return _SEPARATORS.sub("", found), match.end()

    @staticmethod
    def _command(found: str, position: int) -> tuple[str, int]:
        """A command without the letters that stick to it, and where it ends."""
        if found not in _SHORT and found not in _LONG:
            for length in (len(found) - 1, len(found) - 2, len(found) - 3):
                if found[:length] in _SHORT:
                    return found[:length], position - (len(found) - length)
        return found, position

    def _brace(self, found: str, opens_text: bool) -> bool:
        """Follow a brace; whether it is a token. Those of text are not, but in a script."""
        if found == "{":
            script = bool(self.found) and self.found[-1].text in ("^", "_")
            is_token = not opens_text or script
            self.braces.append((is_token, self.upright))
            self.upright |= opens_text
            return is_token
        if not self.braces:
            return True
        is_token, self.upright = self.braces.pop()
        return is_token

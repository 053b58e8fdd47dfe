r"""What an answer says, with the words, units and marks around it.

    answer = [words] [choice] listing [unit] ["."]

- *Words before it* may introduce it ("The answer is"), with a colon or an equals sign after them or
  not. They are a closed list: any other word ("not", "at least", "between") makes another answer
  of it, which is compared as text. In a text that goes on, words that are known to change an
  answer do so, and others don't.
- *A choice* is a capital letter in parentheses, or before a full stop or parenthesis: `(B)`,
  `\textbf{(B)}\ 2`, `B. 2`.
- *A unit* is what is set upright after a number, a unit of measure, or a longer word, with its
  powers and quotients: `\text{ cm}^2`, `kg CO2`, `miles per hour`. "Million" is a factor. Nouns are
  an open class, but no conjunction, negation, numeral or the like may be among these words.

An answer that is not of this form is compared as text. It is `foreign` if the reason is a command
that the grammar doesn't know: a judge may know it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from r1zero.tasks.answers import exact
from r1zero.tasks.answers.comparison import Comparison, Judge, Verdict, any_of
from r1zero.tasks.answers.cursor import Foreign, Unreadable
from r1zero.tasks.answers.grammar import Parser
from r1zero.tasks.answers.nodes import (
    EXPRESSIONS,
    Listing,
    Measured,
    Node,
    Number,
    Product,
    Symbol,
    Words,
    negative,
)
from r1zero.tasks.answers.numerals import in_base, number
from r1zero.tasks.answers.tokens import END, Token, tokenize
from r1zero.tasks.answers.vocabulary import (
    BASES,
    CHANGING,
    CHANGING_AFTER,
    CLAUSES,
    COPULAS,
    FRACTIONS,
    INTRODUCING,
    OPERATORS,
    SCALES,
    SEPARATORS,
    UNITS,
    is_word,
)

MAX_CHARACTERS = 2000
_CHOICES = frozenset("ABCDEFGHIJ")
_PUNCTUATION = frozenset(".,;:!?'\"*`_")
_SENTENCE_END = re.compile(r"\n|[.!?](?=\s|$)")
# Most answers are no more than this.
_PLAIN = re.compile(r"(-?)([0-9]{1,40}(?:\.[0-9]{1,40})?)\.?")


@dataclass(frozen=True, slots=True)
class Reading:
    """An answer that was read."""

    # All tokens, in one form.
    text: str
    # What it says, by each of its readings; none where it is compared as text.
    nodes: tuple[Node, ...] = ()
    # The letter of a choice.
    choice: str = ""
    # The unit of measure, in one form; empty without one, or with one that is not known.
    unit: str = ""
    # A command stands in it that the grammar does not know.
    foreign: bool = False
    # What was read, as it was written; kept where it is foreign.
    source: str = ""


@lru_cache(maxsize=1024)  # the completions of a group share their gold answer
def read(text: str, *, numbers: bool = False, prose: bool = False) -> Reading:
    """Read an answer.

    Args:
        text: The answer, in LaTeX or plain text.
        numbers: It is a number: words and letters around it are no variables.
        prose: It is the beginning of a text that goes on.

    """
    if prose:
        text = _SENTENCE_END.split(text, maxsplit=1)[0]
    if plain := _PLAIN.fullmatch(text.strip(" $*")):
        minus, digits = plain.groups()
        node = number(digits)
        return Reading(f"{minus} {digits}".lstrip(), (negative(node) if minus else node,))
    found = tokenize(text)
    reading = _read(found.tokens, numbers, prose)
    if reading.foreign:
        return replace(reading, source=text)
    if found.ambiguous and not numbers:
        other = _read(tokenize(text, commas_separate=True).tokens, numbers, prose)
        nodes = dict.fromkeys((*reading.nodes, *other.nodes))
        reading = replace(reading, nodes=tuple(nodes))
    return reading


def read_last(text: str, *, numbers: bool = False) -> Reading:
    """Read the last formula or number of a text, as far as it reaches to both sides."""
    tokens = tokenize(text).tokens
    end = len(tokens)
    while end and not _is_content(tokens, end - 1, numbers):
        end -= 1
    start = end
    while start and not _ends_before(tokens, start - 1, numbers):
        start -= 1
    if start and tokens[start - 1].text.lower() in CHANGING:
        return Reading(" ".join(token.text for token in tokens[start - 1 :]))
    while start < end and (tokens[start].text.lower() in SEPARATORS or tokens[start].text in ",;:"):
        start += 1
    return _read(tokens[start:], numbers, prose=True)


def _is_content(tokens: Sequence[Token], index: int, numbers: bool) -> bool:
    token = tokens[index]
    if token.kind == "letters":
        before = tokens[index - 1] if index else None
        return not (numbers or is_word(token, before) or _is_article(tokens, index))
    if token.kind == "number" and index and not token.spaced:
        # A part of a name, such as CO2, or the power of a unit
        before = tokens[index - 1]
        return not (before.kind == "letters" and (numbers or len(before.text) > 1)) and not (
            numbers and before.text == "^"
        )
    return token.kind in ("number", "command")


def _ends_before(tokens: Sequence[Token], index: int, numbers: bool) -> bool:
    """Whether a formula that ends behind a token begins behind it."""
    token = tokens[index]
    if token.kind == "letters" and token.text.lower() not in SEPARATORS:
        before = tokens[index - 1] if index else None
        return is_word(token, before, numbers=numbers) or _is_article(tokens, index)
    following = tokens[index + 1] if index + 1 < len(tokens) else END
    if token.kind == "sign" and token.text in ("<", ">"):
        return numbers
    return token.kind == "sign" and token.text in ".:?!" and following.spaced


def same(gold: Reading, answer: Reading, judge: Judge | None = None) -> Verdict:
    """Whether an answer says what the gold answer says; None where only a judge can tell."""
    if gold.text == answer.text:
        return bool(gold.text)
    if gold.choice or answer.choice:
        return _same_choice(gold, answer, judge)
    return _same_value(gold, answer, judge)


def key(reading: Reading) -> str:
    """One text for readings that are equal by their forms."""
    parts = [reading.choice, *map(exact.key, reading.nodes[:1])]
    return " ".join(filter(None, parts)) or reading.text


def _same_value(gold: Reading, answer: Reading, judge: Judge | None) -> Verdict:
    units = _unit_of(gold), _unit_of(answer)
    if all(units) and units[0] != units[1]:
        return False
    comparison = Comparison(judge)
    return any_of(comparison.same(one, other) for one in gold.nodes for other in answer.nodes)


def _unit_of(reading: Reading) -> str:
    match reading.nodes:
        case (Measured(unit), *_):
            return UNITS[unit]
    return reading.unit


def _same_choice(gold: Reading, answer: Reading, judge: Judge | None) -> Verdict:
    """A letter against a letter; what is chosen against that, where one of them has no letter."""
    letters = _letter(gold), _letter(answer)
    if all(letters):
        if letters[0] != letters[1]:
            return False
        return not (gold.nodes and answer.nodes and gold.choice and answer.choice) or (
            _same_value(gold, answer, judge)
        )
    return _same_value(gold, answer, judge)


def _letter(reading: Reading) -> str:
    match reading.nodes:
        case (Symbol(name),) if not reading.choice and name in _CHOICES:
            return name
    return reading.choice


def _read(tokens: Sequence[Token], numbers: bool, prose: bool) -> Reading:
    reading = Reading(" ".join(token.text for token in _without_ends(tokens)))
    if numbers:
        tokens = _after_equals(tokens)
    try:
        start = _after_words(tokens, prose)
        choice, start = _choice(tokens, start)
        if choice and all(token.text in _PUNCTUATION for token in tokens[start:]):
            return replace(reading, choice=choice)
        nodes, unit = _nodes(tokens[start:], numbers, prose)
    except Foreign:
        return replace(reading, foreign=True)
    except (Unreadable, RecursionError):
        return reading if numbers else replace(reading, nodes=_as_words(tokens))
    return replace(reading, nodes=nodes, choice=choice, unit=unit)


def _nodes(tokens: Sequence[Token], numbers: bool, prose: bool) -> tuple[tuple[Node, ...], str]:
    """What the tokens say in each of their readings, and the unit after it."""
    found: dict[Node, None] = {}
    unit = ""
    variants: list[dict[str, bool]] = [{}]
    for variant in variants:
        parser = Parser(tokens, numbers=numbers, **variant)
        node, unit = _with_unit(parser, numbers, prose)
        if parser.met_plus_minus:
            lower = Parser(tokens, numbers=numbers, lower=True, **variant)
            node = _together(node, _with_unit(lower, numbers, prose)[0])
        found[node] = None
        if not variant:
            variants += [{"tight": True}] * parser.slash_is_ambiguous
            variants += [{"clock": True}] * parser.time_is_ambiguous
    return tuple(found), unit


def _after_equals(tokens: Sequence[Token]) -> Sequence[Token]:
    """What stands after the last equals sign, if a number does."""
    for index in range(len(tokens) - 1, -1, -1):
        if tokens[index][:2] == ("sign", "="):
            rest = tokens[index + 1 :]
            return rest if any(token.kind == "number" for token in rest) else tokens
    return tokens


def _as_words(tokens: Sequence[Token]) -> tuple[Node, ...]:
    """Words with numbers and punctuation among them, compared as they are."""
    words = any(token.kind == "letters" and len(token.text) > 1 for token in tokens)
    if words and all(
        token.kind in ("letters", "number") or token.text in ".,;:-'/()&#!?" for token in tokens
    ):
        return (Words(" ".join(token.text for token in _without_ends(tokens)).casefold()),)
    return ()


def _together(*nodes: Node) -> Node:
    items = dict.fromkeys(
        item for node in nodes for item in (node.items if isinstance(node, Listing) else (node,))
    )
    return Listing(tuple(items)) if len(items) > 1 else next(iter(items))


def _after_words(tokens: Sequence[Token], prose: bool) -> int:
    """Where the answer begins, after words that introduce it; 0 where nothing else follows."""
    words: list[str] = []
    index = 0
    for index, token in enumerate(tokens):
        if token.kind == "letters":
            before = None if not index or tokens[index - 1].kind != "letters" else tokens[index - 1]
            if index + 1 < len(tokens) and tokens[index + 1].text.lower() in COPULAS:
                if is_word(token, before) and not token.text.isupper():
                    words.append(token.text.lower())
                continue  # otherwise it is a name, of which something is said
            if not (is_word(token, before) or (prose and _is_article(tokens, index))):
                break
            words.append(token.text.lower())
        elif token.kind == "sign" and token.text in (":", "=", "~", "->"):
            if not words and index and token.text in (":", "="):
                break
        elif token.kind == "sign" and token.text in ("'", '"', "*", "`", ".", ",") and words:
            if token.text in ".," and not prose and not INTRODUCING.issuperset(words):
                return 0
        elif token.text not in ("therefore", "because", "thus", "implies"):
            break
    else:
        return 0
    if prose and not CHANGING.isdisjoint(words):
        raise Unreadable("words that change the answer")
    if not prose and not (INTRODUCING.issuperset(words) and words[-1:] != ["of"]):
        raise Unreadable("words before the answer")
    return index


def _is_article(tokens: Sequence[Token], index: int) -> bool:
    """Whether a letter is a word of a sentence."""
    following = tokens[index + 1] if index + 1 < len(tokens) else END
    return tokens[index].text in ("a", "A", "I", "s", "t") and is_word(following, None)


def _choice(tokens: Sequence[Token], start: int) -> tuple[str, int]:
    """The letter of a choice, and where what is chosen begins."""
    window = [*tokens[start : start + 4], END, END, END, END]
    opened = window[0].text == "("
    letter, mark, after = window[opened : opened + 3]
    if letter.kind != "letters" or letter.text not in _CHOICES or mark.kind != "sign":
        return "", start
    alone = after.kind == "end" or after.text in _PUNCTUATION
    if opened and mark.text == ")" and (alone or after.spaced or letter.upright):
        return letter.text, start + 3
    if not opened and mark.text in (")", ".", ":") and after.kind != "end" and after.spaced:
        return letter.text, start + 2
    return "", start


def _with_unit(parser: Parser, numbers: bool, prose: bool) -> tuple[Node, str]:
    """What the parser finds, with the words after it; raises `Unreadable` if they change it."""
    node = parser.listing()
    rest = parser.rest
    if not rest:
        return node, ""
    if rest[0].kind == "letters" and rest[0].text.lower() in SCALES:
        if not isinstance(node, Number):
            raise Unreadable("no number")
        node = Number(node.value * SCALES[rest[0].text.lower()])
        rest = rest[1:]
    based = _base_in_words(node, rest)
    if based is not None:
        return based, ""
    if numbers and rest and rest[0].text == "-":
        rest = rest[1:]
    rest = _without_ends(rest)
    if not rest:
        return node, ""
    if prose:
        if _goes_on(rest) or _is_changed(rest):
            raise Unreadable("more after the answer")
        return node, ""
    if any(token.text.lower() in CHANGING_AFTER for token in rest if token.kind == "letters"):
        raise Unreadable("words that change the answer")
    if isinstance(node, Words) or not _is_unit(rest, numbers):
        raise Unreadable("more after the answer")
    if not isinstance(node, EXPRESSIONS) and not numbers:
        return node, ""
    return node, _unit(rest)


def _goes_on(rest: Sequence[Token]) -> bool:
    """Whether something follows directly that makes another expression, such as a sign."""
    first, second = rest[0], rest[1] if len(rest) > 1 else END
    if first.kind == "sign":
        return first.text not in ".,;:!?()'\"`*" or (
            first.text in ",:'" and second.kind == "number" and not second.spaced
        )
    return first.kind == "number" or (first.text.lower() in OPERATORS and second.kind == "number")


def _is_changed(rest: Sequence[Token]) -> bool:
    """Whether the words that follow, up to the end of their clause, change the answer."""
    for token, following in zip(rest, (*rest[1:], END), strict=True):
        word = token.text.lower()
        if token.kind == "sign" or word in CLAUSES:
            return False
        if word in CHANGING_AFTER and not (
            (word in COPULAS and following.text.lower() in INTRODUCING)
            # "5 apples to the neighbour", but "5 to 6"
            or (word in ("and", "to") and token is not rest[0] and following.kind != "number")
        ):
            return True
    return False


def _is_unit(rest: Sequence[Token], numbers: bool) -> bool:
    """Whether tokens are words, with the powers and quotients that units have."""
    before = Token("number", "")
    words = False
    for token in rest:
        if token.kind == "letters":
            if not words and not _may_follow(token, before, numbers):
                return False
            words = True
        elif token.kind == "number":
            # The power of a unit, or a part of its name: m^2, CO2.
            named = token.text in "23" if before.text in UNITS else before.text[:1].isupper()
            glued = before.kind == "letters" and not token.spaced and named
            if not glued and before.text not in ("^", "_", "{", "-"):
                return False
        elif token.text in FRACTIONS:
            words = words or token.kind == "command"
        elif token.kind == "sign":
            allowed = "^_{}/.-'()" if not numbers else "^_{}/.-',;:()%!\""
            if token.text not in allowed or (not words and token.text in "^/-"):
                return False
        else:
            return False
        before = token
    return words


def _may_follow(token: Token, before: Token, numbers: bool) -> bool:
    if token.upright or numbers or token.text in UNITS:
        return True
    return len(token.text) >= 4 and is_word(token, before)


def _unit(rest: Sequence[Token]) -> str:
    """A unit of measure in one form; empty if it is none that is known."""
    found: list[str] = []
    power = ""
    for token in rest:
        if token.kind == "letters":
            word = token.text if token.text in UNITS else token.text.lower()
            if word in ("square", "sq", "cubic", "cu"):
                power = "^2" if word.startswith("s") else "^3"
            elif word == "per":
                found.append("/")
            elif word in UNITS:
                found.append(UNITS[word] + power)
                power = ""
            else:
                return ""
        elif token.text in "^/" or token.kind == "number":
            found.append(token.text)
    return "".join(found).replace("^2^2", "^2").replace("mi/h", "mph")


def _base_in_words(node: Node, rest: Sequence[Token]) -> Node | None:
    """A number before "base six" or "(base 6)"."""
    texts = [token.text.lower() for token in rest if token.text not in ("(", ")", "in", ".")]
    if len(texts) == 2 and texts[0] == "base" and texts[1] in BASES:
        match node:
            case Number(int(value)) if value >= 0:
                return in_base(str(value), BASES[texts[1]])
            case Product((Number(-1), Number(int(value)))):
                return Product((Number(-1), in_base(str(value), BASES[texts[1]])))
    return None


def _without_ends(tokens: Sequence[Token]) -> Sequence[Token]:
    """Tokens without the full stop and the like at their end."""
    end = len(tokens)
    while end and tokens[end - 1].kind == "sign" and tokens[end - 1].text in _PUNCTUATION:
        if tokens[end - 1].text == "!":
            break
        end -= 1
    return tokens[:end]

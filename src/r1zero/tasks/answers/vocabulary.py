"""The words of the grammar: functions, constants, units, and what words around an answer do."""

from r1zero.tasks.answers.tokens import Token

FUNCTIONS = {
    **{
        name: name
        for name in (
            "sin cos tan cot sec csc sinh cosh tanh arcsin arccos arctan arccot arcsec arccsc "
            "log ln exp sqrt cbrt abs gcd lcm max min floor arg Re Im"
        ).split()
    },
    "lg": "log",
    "ceil": "ceiling",
    "sgn": "sign",
    "asin": "arcsin",
    "acos": "arccos",
    "atan": "arctan",
    "cosec": "csc",
}
GREEK = {
    name: name.removeprefix("var")
    for name in (
        "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu "
        "xi rho sigma tau phi varphi chi psi omega Gamma Delta Theta Lambda Xi Sigma Phi Psi Omega "
        "ell upsilon"
    ).split()
}
FRACTIONS = ("frac", "dfrac", "tfrac", "cfrac")
INFINITY = frozenset(("infinity", "Infinity", "inf", "infty", "oo"))
# What stands above or before letters and makes them another name.
DECORATIONS = {
    **{name: name for name in ("hat", "vec", "tilde", "triangle", "angle", "mathbb", "mathcal")},
    **{name: name for name in ("mathfrak", "mathscr", "dot", "ddot", "odot", "overleftrightarrow")},
    "overline": "bar",
    "bar": "bar",
    "widehat": "hat",
    "overrightarrow": "vec",
    "measuredangle": "angle",
}
_NUMERALS = (
    "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
).split()
BASES = {
    **{str(base): base for base in range(2, 37)},
    **{word: base for base, word in enumerate(_NUMERALS, 2)},
}
SEPARATORS = frozenset(("and", "or"))

# Units of measure, by the name that they are compared by.
UNITS = {
    word: words.split()[0]
    for words in (
        "cm centimeter centimeters centimetre centimetres cms",
        "mm millimeter millimeters millimetre millimetres",
        "km kilometer kilometers kilometre kilometres kms",
        "m meter meters metre metres",
        "in inch inches",
        "ft foot feet",
        "yd yard yards yds",
        "mi mile miles",
        "kg kilogram kilograms kgs kilo kilos",
        "g gram grams gm",
        "mg milligram milligrams",
        "lb lbs pound pounds",
        "oz ounce ounces",
        "l liter liters litre litres L",
        "ml milliliter milliliters millilitre millilitres mL",
        "gal gallon gallons",
        "s sec secs second seconds",
        "min mins minute minutes",
        "h hr hrs hour hours",
        "day days",
        "week weeks wk wks",
        "month months",
        "year years yr yrs",
        "mph",
        "kph kmh",
        "deg degs degree degrees",
        "rad radian radians",
        "percent percents percentage pct",
        "dollar dollars USD usd",
        "cent cents",
        "euro euros",
        "unit units",
        "am",
        "pm",
    )
    for word in words.split()
}
_UNIT_LETTERS = frozenset("mgshLl")
_SHORT_WORDS = frozenset(
    "is of in to no it at by so we an as be on if up per are for not the".split()
)
# With only these words before it, an answer is what it is. The list is closed: another word may
# change the answer.
INTRODUCING = frozenset(
    "the a an answer answers ans final correct result solution solutions value values total is are "
    "equals equal be so thus hence therefore then we get have find obtain it its this that about "
    "approximately approx roughly around exactly just only our my s must would will which gives "
    "given by desired required option choice of for there usd dollars rs "
    "area volume length width height perimeter circumference radius diameter distance time speed "
    "rate cost price profit age weight mass sum difference product quotient remainder number "
    "count amount probability ratio average mean median maximum minimum smallest largest greatest "
    "slope angle measure coefficient constant ways possible".split()
)
# In a text that goes on, where any words may stand before an answer, one of these changes it.
CHANGING = frozenset(
    "not no nor neither never none nobody nothing isn isnt aren arent doesn doesnt don dont cannot "
    "cant won wont wasn wasnt either or between and than least most over under above below except "
    "excluding without unless minus plus negative half quarter double twice triple thrice root "
    "from through until up within outside near nearly almost wrong incorrect impossible unlikely "
    "unknown unclear beyond exceeds exceed another different other reciprocal inverse opposite "
    "hardly barely maybe perhaps possibly if".split()
)
_CARDINALS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety "
    "hundred thousand million billion trillion dozen score gross"
).split()
_ORDINALS = (
    "half quarter third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth twentieth "
    "hundredth thousandth millionth"
).split()
# One of these after an answer changes it, or may do so. Nouns are an open class, and a unit may be
# any of them; these are classes that are closed: numerals, conjunctions, negations, auxiliaries,
# comparisons, operations. Words that are in them and change nothing ("of", "per") are left out.
CHANGING_AFTER = frozenset(
    (
        *_CARDINALS,
        *(f"{word}s" for word in _CARDINALS),
        *_ORDINALS,
        *(f"{word}s" for word in _ORDINALS),
        *"halves th st nd rd ish".split(),
        *"and or nor but than versus vs instead rather either neither though although".split(),
        *"unless except excluding without if to until till through thru between".split(),
        *"not no never none nobody nothing nope cannot isn isnt aren arent wasn wasnt".split(),
        *"doesn doesnt don dont didn didnt can cant won wont couldn wouldn shouldn t".split(),
        *"is are was were be been would will could may might should must does did".split(),
        *"maybe perhaps possibly probably wrong incorrect false impossible unlikely".split(),
        *"most least above below over under beyond greater higher lower larger smaller".split(),
        *"too short off away up down".split(),
        *"plus minus times squared cubed doubled tripled quadrupled halved factorial root".split(),
        *"roots mod modulo divided multiplied added subtracted increased decreased raised".split(),
        *"reduced base power choose permute rounded".split(),
    )
)
# What ends the part of a sentence that says the answer.
CLAUSES = frozenset("because since as so which that who when where while after before".split())
# Between two numbers.
OPERATORS = frozenset(("times", "plus", "minus", "over", "to", "by", "x"))
SCALES = {
    "hundred": 10**2,
    "thousand": 10**3,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
}
COPULAS = frozenset("is are equals be gives was were".split())


def is_word(token: Token, before: Token | None, *, numbers: bool = False) -> bool:
    """Whether letters are a word, such as a unit, rather than variables.

    Args:
        token: What may be a word.
        before: The token before it, in the same item; None if it is the first.
        numbers: The answer is a number: there are no variables.

    """
    text = token.text
    if token.kind != "letters":
        return False
    measured = before is not None and (before.kind == "number" or before.text in (")", "}", "%"))
    if len(text) == 1:
        if text in "CF" and before is not None and before.text == "circ" and numbers:
            return True
        if not measured or not (token.upright or numbers):
            return False
        return text in _UNIT_LETTERS or (numbers and token.spaced and text.isupper())
    if measured and text in UNITS:
        return True
    if text in FUNCTIONS or text in GREEK or text in INFINITY or text == "pi":
        return False
    if token.upright or numbers:
        return True
    if before is not None and not token.spaced:
        return False
    if text.lower() in _SHORT_WORDS:
        return True
    return len(text) >= (3 if before is None else 4) and _is_pronounceable(text)


def names_a_thing(token: Token) -> bool:
    """Whether letters that stand alone are a name: capitals, such as `AB`, or a word."""
    if token.kind != "letters" or len(token.text) < 2 or token.text in FUNCTIONS:
        return False
    return token.text.isupper() or is_word(token, None)


def _is_pronounceable(text: str) -> bool:
    return len(text) >= 5 or any(letter in "aeiouAEIOU" for letter in text)

"""One value in many notations is right in all of them, and with another value in none."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import gcd
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graders import grade_gsm8k, grade_math
from r1zero.tasks.prompts import Style

Draw = Callable[[Any], Any]
DIGITS = "0123456789ABCDEF"
TASKS = ("gsm8k", "math")
WORDS = ("listen", "CAT", "stone", "below", "night", "angle", "study", "parse", "DUSTY", "heart")
UNITS = ("m^2", "m²", "kg CO2", "m2", "cm^3", "km/h", "miles per hour", "kg/m^3", "H2O molecules")


@dataclass(frozen=True)
class Case:
    """A gold answer with answers that are right and answers that are wrong."""

    gold: str
    right: Sequence[str]
    wrong: Sequence[str]
    task: str = "math"
    # Completions of both verdicts, `{}` for the answer.
    frame: str = r"So it is $\boxed{{{}}}$."
    style: str = "boxed"
    lenient: bool = False


def integers(low: int, high: int) -> Any:
    return st.integers(low, high)


def coprime(draw: Draw, largest: int = 60) -> tuple[int, int]:
    """A proper fraction in lowest terms."""
    below = draw(integers(2, largest))
    above = draw(integers(1, below - 1).filter(lambda n: gcd(n, below) == 1))
    return above, below


def fractions_of(above: int, below: int) -> list[str]:
    return [
        rf"\frac{{{above}}}{{{below}}}",
        rf"\dfrac{{{above}}}{{{below}}}",
        rf"\tfrac{{{above}}}{{{below}}}",
        f"{above}/{below}",
        f"{above} / {below}",
        rf"\frac{{{3 * above}}}{{{3 * below}}}",
        rf"\frac{{{above}.0}}{{{below}}}",
        rf"{above} \div {below}",
    ]


def latex_fractions(draw: Draw) -> Case:
    whole, (above, below) = draw(integers(1, 30)), coprime(draw, 9)
    value = Fraction(whole * below + above, below)
    right = [
        rf"{whole}\frac{above}{below}",
        rf"{whole}\frac{{{above}}}{{{below}}}",
        rf"{whole} \dfrac{{{above}}}{{{below}}}",
        *fractions_of(value.numerator, value.denominator),
        rf"\frac{{{1000 * value.numerator:,}}}{{{1000 * value.denominator}}}",
        rf"\frac{{{1000 * value.numerator:,}}}{{{1000 * value.denominator:,}}}",
    ]
    wrong = [
        rf"{whole + 1}\frac{{{above}}}{{{below}}}",
        rf"{whole}\frac{{{below}}}{{{above + below}}}"
        if above * (above + below) != below**2
        else "0",
        rf"{whole}{above}/{below}",
        rf"\frac{{{whole}}}{{{below}}}",
        str(whole),
        rf"\frac{{{value.denominator}}}{{{value.numerator}}}",
    ]
    return Case(str(value), right, wrong, "gsm8k")


def thousands(draw: Draw) -> Case:
    number = draw(integers(10**3, 10**10))
    plain = f"{number:,}"
    separators = (",", "{,}", r"{,}", " ", "_", "~", r"\,", r",\!", r"\ ", "\u202f", "\u00a0", "'")
    right = [plain.replace(",", separator) for separator in separators]
    right += [f"{number}.00", f"{plain}.0", rf"\${plain}", rf"\text{{{plain}}}", f"{number}"]
    group = plain.partition(",")[0]
    wrong = [text.replace(group, str(int(group) + 1), 1) for text in right]
    return Case(str(number), right, [*wrong, group, f"{plain},0"], draw(st.sampled_from(TASKS)))


def signs_and_forms(draw: Draw) -> Case:
    number, power = draw(integers(1, 999)), draw(integers(1, 9))
    value = -number * 10**power
    right = [
        *(f"{minus}{number * 10**power}" for minus in ("-", "–", "−", "‐", "- ", "-$")),
        *(f"{minus}{number}e{power}" for minus in "-–−"),
        f"-{number}E{power}",
        f"-{number} x 10^{power}",
        rf"-{number} \times 10^{{{power}}}",
        f"-{number} × 10^{power}",
        f"-{number * 10**power}/1",
        f"-{number * 10**power} / 1",
        f"**-{number * 10**power}**",
    ]
    wrong = [text.replace(str(number), str(number + 1), 1) for text in right]
    wrong += [text.lstrip("-–−‐ *").rstrip("*") for text in right]
    return Case(str(value), right, wrong, "gsm8k", "thought\n#### {}", "hash")


def units_with_digits(draw: Draw) -> Case:
    number = draw(integers(3, 10**5))
    right = [f"{number} {unit}" for unit in UNITS]
    wrong = [f"{number + 1} {unit}" for unit in UNITS]
    return Case(
        str(number), right, [*wrong, f"{number}^2", f"{number} 2"], "gsm8k", "x\n#### {}", "hash"
    )


def lenient_numbers(draw: Draw) -> Case:
    number, more = draw(integers(2, 99)), draw(integers(2, 99))
    right = [
        f"The answer is {number}.",
        f"The answer is **{number}** apples. That took {more} steps.",
        f"A: {number} (of {number + more})",
        f"Answer: {more} + {number - more} = {number} dollars" if number > more else f"A: {number}",
        rf"\boxed{{{number}}} of {more + number}",
        f"So she has {number} apples.",
    ]
    forms = ("{}-" + str(more), "{} " + f"{more}/{more + 1}", "{}√3", "{}x", "{} 000", "{}^2")
    forms = (*forms, "{} or " + str(number + more), "{} to " + str(number + more), "{} million")
    wrong = [
        frame + form.format(number)
        for frame in ("The answer is ", "A: ", "So it is ")
        for form in forms
    ]
    return Case(str(number), right, wrong, "gsm8k", "{}", "hash", lenient=True)


def lenient_part_of_answer(draw: Draw) -> Case:
    number, more = draw(integers(2, 99)), draw(integers(2, 9))
    right = [f"the answer is {number}.", f"The answer is ${number}$.", f"we get x = {number}"]
    forms = ("{}x", "{}√" + str(more), "{}π", "{} sqrt(7)", "{}^{{{}}}", "{}+2i", "{}.5 x 10^3")
    forms = (*forms, "{} 1/3", "{}/" + str(more), r"{}\pi", "({}, 1)", "{}, 1", "-{}")
    wrong = [f"the answer is {form.format(number, more)}" for form in forms]
    return Case(str(number), right, wrong, frame="{}", lenient=True)


def anagram(draw: Draw) -> Case:
    word = draw(st.sampled_from(WORDS))
    letters = draw(st.permutations(word).filter(lambda other: "".join(other) != word))
    other = "".join(letters)
    right = [word, rf"\text{{{word}}}", rf"\textbf{{{word}}}", rf"\mathrm{{{word}}}", f" {word}. "]
    wrong = [other, rf"\text{{{other}}}", " ".join(other), word[1:], word + "s"]
    return Case(draw(st.sampled_from(right[:2])), right, wrong)


def answer_line_markdown(draw: Draw) -> Case:
    number = draw(integers(-999, 999))
    frames = (
        "Answer: {}", "Answer: **{}**", "**Answer:** {}", "**Answer: {}**", "*Answer:* {}",
        "Answer: `{}`", "Answer: ${}$", "Answer: **${}$**", "__Answer:__ {}", "> Answer: {}",
        "### Answer: {}", "- **Answer**: {}", r"Answer: $\boxed{{{}}}$", "answer: *{}*.",
    )  # fmt: skip
    return Case(
        str(number),
        ["thought\n" + frame.format(number) for frame in frames],
        ["thought\n" + frame.format(number + 1) for frame in frames]
        + [f"thought\n{frame.format(f'not {number}')}" for frame in frames[:5]],
        draw(st.sampled_from(TASKS)),
        "{}",
        "line",
    )


def choice_gold(draw: Draw) -> Case:
    letter, number = draw(st.sampled_from("ABCDE")), draw(integers(1, 999))
    other = chr(ord(letter) + 1)
    gold = draw(
        st.sampled_from(
            (r"\textbf{{({})}}\ {}", r"\text{{({}) }}{}", r"\mathrm{{({}) \ }} {}", "({}) {}")
        )
    ).format(letter, number)
    forms = ("{}", "({})", r"\text{{{}}}", r"\textbf{{({})}}", r"\text{{({})}}", "Option {}")
    both = ("({}) {}", r"\textbf{{({})}}\ {}", "{}) {}", "{}. {}", r"\text{{({}) }} {}")
    right = [form.format(letter) for form in forms]
    right += [form.format(letter, number) for form in both] + [str(number), f"{number}.0"]
    wrong = [form.format(other) for form in forms]
    wrong += [form.format(other, number) for form in both] + [str(number + 1)]
    wrong += [form.format(letter, number + 1) for form in both]
    return Case(gold, right, wrong)


def degrees(draw: Draw) -> Case:
    name, angle, value = draw(
        st.sampled_from(
            [("sin", 30, "1/2"), ("cos", 60, "1/2"), ("tan", 45, "1"), ("cos", 120, "-1/2"),
             ("sin", 45, r"\frac{\sqrt2}{2}"), ("sin", 60, r"\frac{\sqrt3}{2}"),
             ("tan", 60, r"\sqrt{3}"), ("cos", 180, "-1"), ("sin", 210, "-0.5")]
        )
    )  # fmt: skip
    angle += 360 * draw(integers(0, 3))
    forms = (
        r"\NAME ANGLE^\circ", r"\NAME(ANGLE^{\circ})", r"\NAME ANGLE^{\circ}", "NAME(ANGLE°)",
        "NAME ANGLE°", r"\NAME\left(ANGLE^\circ\right)", r"\NAME{ANGLE^\circ}",
    )  # fmt: skip
    right = [form.replace("NAME", name).replace("ANGLE", str(angle)) for form in forms]
    wrong = [form.replace("NAME", name).replace("ANGLE", str(angle + 7)) for form in forms]
    return Case(value, right, [*wrong, f"{name}({angle})", f"{angle}°"])


def mixed_number(draw: Draw) -> Case:
    whole, (above, below) = draw(integers(1, 99)), coprime(draw)
    minus = draw(st.sampled_from(("", "-")))
    value = Fraction(whole * below + above, below)
    forms = (
        "{} {}/{}", r"{}\frac{{{}}}{{{}}}", r"{} \frac{{{}}}{{{}}}", r"{}\dfrac{{{}}}{{{}}}",
        r"{}\tfrac{{{}}}{{{}}}", r"{}\ {}/{}", r"{}\,\frac{{{}}}{{{}}}",
    )  # fmt: skip
    right = [minus + form.format(whole, above, below) for form in forms]
    right += [f"{minus}{text}" for text in fractions_of(value.numerator, value.denominator)]
    wrong = [minus + form.format(whole + 1, above, below) for form in forms]
    wrong += [minus + form.format(whole, above, below + 1) for form in forms]
    wrong += [
        f"{minus}{whole}",
        f"{minus}{whole}{above}/{below}",
        f"{minus}{whole * above}/{below}",
    ]
    sign = "" if minus else "-"
    wrong += [sign + form.format(whole, above, below) for form in forms]
    gold = draw(st.sampled_from([right[1], rf"{minus}\frac{{{value.numerator}}}{{{below}}}"]))
    return Case(gold, right, wrong)


def number_base(draw: Draw) -> Case:
    base = draw(integers(2, 16).filter(lambda n: n != 10))
    digits = draw(st.text(DIGITS[:base], min_size=3, max_size=7))
    digits = "1" + digits
    other = digits[:-1] + ("1" if digits[-1] == "0" else "0")
    forms = (
        "{}_{{{}}}", r"\text{{{}}}_{{{}}}", r"\mathrm{{{}}}_{{{}}}", "({})_{{{}}}",
        r"\text{{{}}}_{{\text{{{}}}}}", r"\left({}\right)_{{{}}}", "0{}_{{{}}}",
        r"{}\text{{ base }}{}", r"{} \text{{ (base {})}}",
    )  # fmt: skip
    if not digits.isdecimal():
        forms = forms[:6]
    right = [form.format(digits, base) for form in forms]
    wrong = [form.format(other, base) for form in forms]
    wrong += [form.format(digits, 20 if base != 20 else 21) for form in forms]
    wrong += [f"{digits}_{{{10}}}"] if digits.isdecimal() else []
    if digits.isdecimal():
        right.append(digits)
        wrong += [other] + ([str(int(digits, base))] if str(int(digits, base)) != digits else [])
    return Case(right[0], right, wrong)


def plain_notation(draw: Draw) -> Case:
    n, m = draw(integers(2, 30)), draw(integers(2, 9))
    latex, texts, changed = draw(
        st.sampled_from(
            [
                (r"\frac{N\pi}{M}", ("N*pi/M", "Npi/M", "(N pi)/M", "N π / M", "Nπ/M"), "N"),
                (r"N+\sqrt{M}", ("N + sqrt(M)", "N+√M", "sqrt(M) + N", "N+√(M)", "N+M^(1/2)"), "N"),
                (r"N\ln M", ("N ln M", "N*ln(M)", "N ln(M)", r"\ln(M) \cdot N", "N·ln(M)"), "N"),
                ("x^{N}+M", ("x^N+M", "x**N + M", "x^(N) + M", "M + x^N", "x^N+M"), "M"),
                (r"e^{N}-M", ("e^N - M", "exp(N) - M", "e^(N)-M", "-M + exp(N)", "e^N−M"), "M"),
                (r"[N,\infty)", ("[N, ∞)", "[N, oo)", "[N, infinity)", "[N,inf)", "[N,∞)"), "N"),
                (r"(-\infty,-N]\cup(M,\infty)",
                 ("(-∞, -N] ∪ (M, ∞)", "(−∞,−N]∪(M,∞)", "(-oo, -N] U (M, oo)"), "M"),
                (r"N\sin(Mx)", ("N sin(Mx)", "N*sin(M*x)", "N sin(M x)", "sin(Mx)*N"), "N"),
                (r"\log_M N", ("log_M(N)", "log_M N", r"\log_{M}{N}", "log_{M}(N)"), "N"),
                (r"x \le N", ("x <= N", "x ≤ N", r"x \leq N", "N ≥ x", "N >= x"), "N"),
                (r"N^\circ", ("N°", "N degrees", "N", r"N^{\circ}", r"N\text{ degrees}"), "N"),
                (r"N\sqrt[3]{M}", ("N*cbrt(M)", "N∛M", "N*M^(1/3)", "N cbrt(M)"), "N"),
                (r"N-Mi", ("N - Mi", "N-M*i", "-Mi + N", "N − Mi"), "N"),
            ]
        )
    )  # fmt: skip

    def fill(text: str, first: int, second: int) -> str:
        return text.replace("N", str(first)).replace("M", str(second))

    right = [fill(text, n, m) for text in (latex, *texts)]
    near = (n + 1, m) if changed == "N" else (n, m + 1)
    wrong = [fill(text, *near) for text in (latex, *texts)]
    return Case(right[0], right, wrong)


def repeating_decimal(draw: Draw) -> Case:
    whole = draw(integers(0, 9))
    fixed = draw(st.text("0123456789", max_size=2))
    period = draw(st.text("0123456789", min_size=1, max_size=3).filter(lambda d: len(set(d)) > 1
                  or (len(d) == 1 and d not in "09")))  # fmt: skip
    value = whole + (int(fixed or 0) + Fraction(int(period), 10 ** len(period) - 1)) / 10 ** len(
        fixed
    )
    start = f"{whole}.{fixed}"
    right = [rf"{start}\overline{{{period}}}", rf"{start}\bar{{{period}}}", str(value)]
    right += [rf"\frac{{{value.numerator}}}{{{value.denominator}}}", f"{start}{period * 4}..."]
    right += [rf"{start}\dot{{{period}}}"] if len(period) == 1 else []
    right += [f"{start}({period})"] if not fixed else []
    more = str(int(period) + 1 if int(period) + 1 < 10 ** len(period) - 1 else 1).zfill(len(period))
    wrong = [rf"{start}\overline{{{more}}}", rf"{start}\bar{{{more}}}", f"{start}{period}"]
    wrong += [rf"{whole + 1}.{fixed}\overline{{{period}}}", f"{start}9"]
    return Case(draw(st.sampled_from(right[:4])), right, wrong)


def small_values(draw: Draw) -> Case:
    base, power = draw(integers(2, 9)), draw(integers(60, 300))
    frame = draw(
        st.sampled_from(
            ("{}", "1+{}", "x+{}", r"\pi+{}", "(1, {})", r"\{{2, {}\}}", "[0, {})", r"\sqrt2+{}",
             r"\begin{{pmatrix}} {} \\ 1 \end{{pmatrix}}", "5{}", "y={}", "e^2-{}")
        )
    )  # fmt: skip
    forms = (
        r"\frac{{1}}{{{}^{{{}}}}}", "{}^{{-{}}}", r"\left(\frac{{1}}{{{}}}\right)^{{{}}}",
        "{}^(-{})", "(1/{})^{}",
    )  # fmt: skip
    joined = frame.replace("5{}", r"5\cdot {}")
    right = [joined.format(form.format(base, power)) for form in forms]
    wrong = [joined.format(form.format(base, power + 1)) for form in forms]
    wrong += [joined.format(form.format(base + 1, power)) for form in forms]
    wrong += [joined.format("0"), joined.format(rf"\frac{{1}}{{{power}!}}")]
    wrong += [joined.format(f"e^{{-{power}}}")]
    return Case(right[0], right, wrong)


def upright(draw: Draw) -> Case:
    n, m = draw(integers(2, 50)), draw(integers(2, 50))
    forms = ("{n}e^{{{m}}}", "{n}+{m}i") if draw(st.booleans()) else ("{n}+{m}i", "{n}e^{{{m}}}")
    form = forms[0].format(n=n, m=m)
    styles = (r"\mathrm{%s}", r"\text{%s}", r"\operatorname{%s}", "{\\rm %s}", r"\mathit{%s}")
    letter = "e" if "e" in form else "i"
    right = [form, *(form.replace(letter, style % letter) for style in styles)]
    other = forms[0].format(n=n, m=m + 1)
    wrong = [other, *(other.replace(letter, style % letter) for style in styles)]
    wrong += [form.replace(letter, style % "x") for style in styles]
    return Case(draw(st.sampled_from(right)), right, wrong)


def wordy_box(draw: Draw) -> Case:
    number = draw(integers(2, 9999))
    frames = (
        r"\text{{The answer is }} {}", r"\text{{Answer: }}{}", r"\approx {}", "~{}~", "`{}`",
        "**{}**", r"\text{{So }} x = {}", r"\text{{about }} {}", r"x \approx {}", '"{}"',
        r"\text{{The final answer is: }} {}.", r"\text{{It is }} {}", r"{} \text{{ apples}}",
        r"\text{{Area}} = {}\text{{ cm}}^2", r"\text{{{}}}", r"\textbf{{{}}}", r"\boxed{{{}}}",
    )  # fmt: skip
    changed = (
        r"\text{{not }} {}", "not {}", r"\text{{between }} {} \text{{ and }} 99999",
        r"\text{{at least }} {}", "more than {}", r"{} \text{{ or more}}",
        r"{} \text{{ or }} 99999", r"\text{{either }} {} \text{{ or }} 99999", "> {}", r"\ge {}",
        r"\neq {}", "{} million", r"\text{{The answer is not }} {}", r"\text{{half of }} {}",
        r"\text{{no more than }} {}", r"\text{{isn't }} {}",
    )  # fmt: skip
    return Case(
        str(number),
        [frame.format(number) for frame in frames],
        [frame.format(number + 1) for frame in frames]
        + [frame.format(number) for frame in changed],
    )


KINDS: dict[str, Callable[[Draw], Case]] = {
    "anagram": anagram,
    "answer_line_markdown": answer_line_markdown,
    "choice_gold": choice_gold,
    "degrees": degrees,
    "latex_fractions": latex_fractions,
    "lenient": lenient_numbers,
    "lenient_part_of_answer": lenient_part_of_answer,
    "mixed_number": mixed_number,
    "number_base": number_base,
    "plain_notation": plain_notation,
    "repeating_decimal": repeating_decimal,
    "signs_and_forms": signs_and_forms,
    "small_values": small_values,
    "thousands": thousands,
    "units_with_digits": units_with_digits,
    "upright_e_i": upright,
    "wordy_box": wordy_box,
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_value_is_right_in_every_notation_and_another_in_none(kind: str) -> None:
    counts: Counter[str] = Counter()

    @settings(max_examples=30, deadline=None, derandomize=True, database=None)
    @given(st.data())
    def check(data: Any) -> None:
        case = KINDS[kind](data.draw)
        counts["right"] += len(case.right)
        counts["wrong"] += len(case.wrong)
        assert verdicts(case, case.right) == dict.fromkeys(case.right, 1), case.gold
        assert verdicts(case, case.wrong) == dict.fromkeys(case.wrong, 0), case.gold

    check()
    print(f"\n{kind}: {counts['right']} right, {counts['wrong']} wrong, none mistaken")
    assert min(counts.values()) >= 75
    assert counts.total() >= 150


def verdicts(case: Case, answers: Sequence[str]) -> dict[str, int]:
    style = Style(thought="free", answer=case.style)  # type: ignore[arg-type]
    completions = [case.frame.format(answer) for answer in answers]
    grade = grade_gsm8k if case.task == "gsm8k" else grade_math
    found = grade(completions, [case.gold] * len(answers), style)
    return {
        answer: grade.lenient if case.lenient else grade.correct
        for answer, grade in zip(answers, found, strict=True)
    }

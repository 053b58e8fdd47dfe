"""Completions that hang, crash or fill the memory of a grader of mathematics.

The gold answer is 7 for all of them, and none of them says so.
"""

GOLD = "7"
MEGABYTE = 1_000_000


def boxed(answer: str) -> str:
    return rf"So it is $\boxed{{{answer}}}$."


HOSTILE = {
    # what sympy works on for minutes or more
    "tower of powers": boxed("10^{10^{10}}"),
    "tower of powers in plain text": "Answer: 10**10**10, or 10^10^10",
    "higher tower": boxed("9^{9^{9^{9}}}"),
    "factorial": boxed("(10^{9})!"),
    "factorial of a factorial": boxed("((20!)!)!"),
    "binomial": boxed(r"\binom{10^{12}}{10^{11}}"),
    "long sum": boxed(r"\sum_{k=1}^{10^{12}} \frac{1}{k^k}"),
    "long product": boxed(r"\prod_{k=1}^{10^{9}} \left(k+\sqrt{k}\right)"),
    "integral": boxed(r"\int_0^1 \frac{\sin(x^x)\ln(1+\tan(x))}{\sqrt{1+x^7}}\, dx"),
    "limit": boxed(r"\lim_{x \to \infty} \left(\sin(x)^{x^{x}}\right)^{\frac{1}{x}}"),
    "high power of a sum": boxed("(a+b+c+d+e+f)^{900} - (a+b+c+d+e)^{901}"),
    "nested radicals": boxed(r"\sqrt{2+" * 60 + "x" + "}" * 60),
    "product of many factors": boxed("".join(f"(x-{n})(y+{n})" for n in range(1, 90))),
    "trigonometry": boxed("+".join(rf"\sin^{{{n}}}({n}x)\cos^{{{n}}}({n}y)" for n in range(2, 30))),
    "large matrix": boxed(
        r"\det\begin{pmatrix}"
        + r"\\".join("&".join(f"x^{{{i * j}}}" for j in range(9)) for i in range(9))
        + r"\end{pmatrix}"
    ),
    "system of relations": boxed(" < ".join(f"x^{n}+y^{n}" for n in range(2, 20))),
    # deep or long
    "megabyte of opening braces": r"\boxed" + "{" * MEGABYTE,
    "megabyte of matched braces": boxed("{" * (MEGABYTE // 2) + "}" * (MEGABYTE // 2)),
    "megabyte of boxes": r"\boxed{" * (MEGABYTE // 7),
    "megabyte of closed boxes": r"\boxed{8}" * (MEGABYTE // 9),
    "megabyte of dollars": "$" * MEGABYTE,
    "megabyte of opened formulas": r"\[ " * (MEGABYTE // 3),
    "megabyte of digits": boxed("9" * MEGABYTE),
    "digits": boxed("9" * 1_999),
    "deep parentheses": boxed("(" * 900 + "8" + ")" * 900),
    "deep fractions": boxed(r"\frac{1}{1+" * 150 + "x" + "}" * 150),
    "deep exponents": boxed("2^{" * 400 + "2" + "}" * 400),
    "many signs": boxed("-" * 1_900 + "8"),
    "formulas side by side": "$1$ and " * 240,
    "opened formulas side by side": r"\[ \( $ \boxed{" * 120,
    "answer, answer, answer": "answer " * 280,
    # no numbers
    "not a number": boxed("NaN"),
    "infinity": boxed(r"\infty - \infty"),
    "complex infinity": boxed(r"\frac{1}{0}"),
    "indefinite": boxed(r"\frac{0}{0}"),
    "infinite float": boxed("9.9e999999999"),
    "words": boxed(r"\text{seven}"),
    "code": boxed("__import__('os').system('false')"),
    "mixed scripts": boxed("Ａ٣७七Ⅶ𝟕⑦"),
    "full-width digit": boxed("\uff17"),
    "right-to-left override": boxed("\u202e7"),
    "zero-width space": boxed("1\u200b7"),
    "combining characters": boxed("8" + "\u0301" * 1_900),
    "lone surrogate": boxed("7\ud800"),
    "null character": boxed("7\0"),
    "empty": "",
    "blank box": boxed(" "),
}

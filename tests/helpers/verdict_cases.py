"""The cases of math-verify's own tests, judged by what `equivalence` makes of math-verify."""

from typing import Any

from r1zero.tasks.answers.equivalence import equivalent, search


def verdict(case: dict[str, Any]) -> bool:
    """Verdict on a case, with the options that it names."""
    targets = case["match_types"]
    return equivalent(
        search(case["gold"], targets, unparsed=True),
        search(case["pred"], targets, unparsed=True),
        float_rounding=case["precision"],
        strict=case["strict"],
        allow_set_relation_comp=case["allow_set_relation_comp"],
    )

"""`sample` against transformers' own `generate`, and against exact probabilities."""

from collections import Counter
from collections.abc import Sequence

import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor
from transformers import Qwen3Config, Qwen3ForCausalLM

from r1zero.sampling import sample
from r1zero.sampling.qwen3 import Qwen3

PAD = 0
NEVER = [10_000]  # no token of any vocabulary here
PROMPTS = [[3, 4, 5], [6], [7, 8, 9, 10, 11, 12, 13], [14, 15], [16], [17, 18, 19, 20]]


def tiny_model(vocabulary: int, spread: float) -> Qwen3ForCausalLM:
    """A random model; the larger the `spread` of its weights, the clearer its preferences."""
    torch.manual_seed(1)
    config = Qwen3Config(
        vocab_size=vocabulary,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        intermediate_size=32,
        max_position_embeddings=128,
        initializer_range=spread,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=PAD,
        attn_implementation="eager",
    )
    return Qwen3ForCausalLM(config).eval()


@pytest.fixture(scope="module")
def model() -> Qwen3ForCausalLM:
    return tiny_model(vocabulary=96, spread=1.0)


@pytest.fixture(scope="module")
def small_vocabulary() -> Qwen3ForCausalLM:
    """Six tokens, so that all pairs of tokens are common enough to be counted."""
    return tiny_model(vocabulary=6, spread=0.25)


def generated(
    model: Qwen3ForCausalLM, prompts: Sequence[list[int]], new: int, eos: list[int]
) -> list[list[int]]:
    """Greedy completions by `generate`, cut after their first token of `eos`."""
    longest = max(map(len, prompts))
    rows = [[PAD] * (longest - len(prompt)) + prompt for prompt in prompts]
    mask = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    output = model.generate(
        input_ids=torch.tensor(rows),
        attention_mask=torch.tensor(mask),
        max_new_tokens=new,
        do_sample=False,
        eos_token_id=eos,
        pad_token_id=PAD,
    )
    completions = output[:, longest:].tolist()
    ends = [next((i for i, t in enumerate(row) if t in eos), len(row)) for row in completions]
    return [row[: end + 1] for row, end in zip(completions, ends, strict=True)]


def rows_of_each_pass(model: Qwen3ForCausalLM, *args: object, **options: object) -> list[int]:
    """Sample, and return how many rows each forward pass had."""
    rows: list[int] = []
    hook = model.register_forward_pre_hook(
        lambda _, args, kwargs: rows.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    with pytest.MonkeyPatch.context() as patch:
        # So each token takes a forward pass of the model.
        patch.setattr(Qwen3, "of", lambda model: None)
        sample(model, *args, **options)
    hook.remove()
    return rows


def test_greedy_is_what_generate_gives(model: Qwen3ForCausalLM) -> None:
    expected = generated(model, PROMPTS, new=40, eos=NEVER)
    # A model that says the same whatever it is asked would show nothing.
    assert len(set(map(tuple, expected))) == len(PROMPTS)
    assert len(set(expected[0])) > 5
    drawn = sample(model, PROMPTS, max_new_tokens=40, eos=NEVER, pad=PAD, temperature=0)
    assert drawn == expected


def test_greedy_is_what_generate_gives_when_rows_finish_at_different_times(
    model: Qwen3ForCausalLM,
) -> None:
    free = generated(model, PROMPTS, new=40, eos=NEVER)
    # Ends that the rows reach one after another, and that one row never reaches.
    eos = sorted({max(set(row) - set(free[5]), key=row.index) for row in free[:3]})
    expected = generated(model, PROMPTS, new=40, eos=eos)
    lengths = list(map(len, expected))
    assert len(set(lengths)) >= 4, lengths
    assert max(lengths) == 40
    options = {"max_new_tokens": 40, "eos": eos, "pad": PAD, "temperature": 0}
    assert sample(model, PROMPTS, **options) == expected
    rows = rows_of_each_pass(model, PROMPTS, **options)
    assert len(rows) == 40
    assert (rows[0], rows[-1]) == (len(PROMPTS), lengths.count(40))
    assert len(set(rows)) >= 4
    assert rows == sorted(rows, reverse=True)


def test_few_finished_rows_are_carried_along_and_do_not_disturb_the_others(
    model: Qwen3ForCausalLM,
) -> None:
    free = generated(model, PROMPTS, new=30, eos=NEVER)
    prompts = [PROMPTS[0], *PROMPTS[1:] * 3]  # one row in sixteen finishes early
    eos = sorted(set(free[0][:20]) - {token for row in free[1:] for token in row})
    expected = generated(model, prompts, new=30, eos=eos)
    assert [len(row) == 30 for row in expected] == [False] + [True] * 15
    options = {"max_new_tokens": 30, "eos": eos, "pad": PAD, "temperature": 0}
    assert sample(model, prompts, **options) == expected
    assert rows_of_each_pass(model, prompts, **options) == [16] * 30


def test_nothing_is_computed_after_the_last_row_has_finished(model: Qwen3ForCausalLM) -> None:
    (free,) = generated(model, PROMPTS[:1], new=10, eos=NEVER)
    end = free.index(free[3])
    options = {"max_new_tokens": 10, "eos": [free[3]], "pad": PAD, "temperature": 0}
    assert sample(model, PROMPTS[:1], **options) == [free[: end + 1]]
    assert len(rows_of_each_pass(model, PROMPTS[:1], **options)) == end + 1


def next_probabilities(
    model: Qwen3ForCausalLM, ids: list[int], temperature: float, top_k: int, top_p: float
) -> Tensor:
    """Probabilities of the next token, by the definitions and in double precision."""
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0, -1].double()
    p = (logits / temperature).softmax(dim=-1)
    order = p.argsort(descending=True)
    if top_k:
        p[order[top_k:]] = 0
        p = p / p.sum()
    if top_p < 1:
        before = p[order].cumsum(dim=0) - p[order]  # the nucleus: as few as reach top_p
        p[order[before >= top_p]] = 0
    return p / p.sum()


def first_two(
    model: Qwen3ForCausalLM, prompt: list[int], end: int, **decoding: float
) -> dict[tuple[int, ...], float]:
    """Probability of each possible completion of at most two tokens."""
    found = {}
    for a, p in enumerate(next_probabilities(model, prompt, **decoding).tolist()):
        if a == end or p == 0:
            found[a,] = p
            continue
        then = next_probabilities(model, [*prompt, a], **decoding).tolist()
        found |= {(a, b): p * q for b, q in enumerate(then)}
    return {tokens: p for tokens, p in found.items() if p > 0}


def p_value(drawn: list[list[int]], expected: dict[tuple[int, ...], float]) -> float:
    """Chance of frequencies as far off; rare completions are counted together."""
    counts = Counter(map(tuple, drawn))
    common = [tokens for tokens, p in expected.items() if p * len(drawn) >= 5]
    observed = [counts[tokens] for tokens in common]
    wanted = [expected[tokens] * len(drawn) for tokens in common]
    rest = len(drawn) - sum(wanted)
    if rest > 1e-6 * len(drawn):
        observed.append(len(drawn) - sum(observed))
        wanted.append(rest)
    return float(chisquare(observed, wanted, sum_check=False).pvalue)


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p", "excludes"),
    [
        (0.7, 0, 1.0, False),
        (1.3, 0, 1.0, False),
        (0.7, 3, 1.0, True),
        (0.7, 0, 0.8, True),
        (1.0, 4, 0.7, True),
    ],
)
def test_the_first_two_tokens_have_their_exact_probabilities(
    small_vocabulary: Qwen3ForCausalLM, temperature: float, top_k: int, top_p: float, excludes: bool
) -> None:
    prompt, n = [1, 4, 2], 4000
    decoding = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
    first = next_probabilities(small_vocabulary, prompt, **decoding)
    end = int(first.argmax())  # so common that its rows are dropped before the second token
    assert first[end] > 0.15
    expected = first_two(small_vocabulary, prompt, end, **decoding)
    assert sum(expected.values()) == pytest.approx(1)
    assert (len(expected) < 1 + 5 * 6) == excludes
    torch.manual_seed(0)
    drawn = sample(small_vocabulary, [prompt] * n, max_new_tokens=2, eos=[end], pad=PAD, **decoding)
    assert {tuple(tokens) for tokens in drawn} <= expected.keys()
    assert p_value(drawn, expected) > 0.01


def test_another_temperature_would_be_noticed(small_vocabulary: Qwen3ForCausalLM) -> None:
    prompt, n = [1, 4, 2], 4000
    expected = first_two(small_vocabulary, prompt, end=-1, temperature=0.8, top_k=0, top_p=1.0)
    torch.manual_seed(0)
    drawn = sample(
        small_vocabulary, [prompt] * n, max_new_tokens=2, eos=NEVER, pad=PAD, temperature=0.7
    )
    assert p_value(drawn, expected) < 1e-4


def test_padding_of_shorter_prompts_changes_no_probability(
    small_vocabulary: Qwen3ForCausalLM,
) -> None:
    short, long, n = [1, 4], [2, 3, 5, 1, 1, 4, 2, 3], 3000
    torch.manual_seed(0)
    drawn = sample(small_vocabulary, [short, long] * n, max_new_tokens=2, eos=NEVER, pad=PAD)
    for prompt, mine in ((short, drawn[::2]), (long, drawn[1::2])):
        expected = first_two(small_vocabulary, prompt, end=-1, temperature=1.0, top_k=0, top_p=1.0)
        assert p_value(mine, expected) > 0.01


def test_an_end_is_kept_as_the_last_token_and_a_cut_off_completion_has_none(
    model: Qwen3ForCausalLM,
) -> None:
    eos, new = [5, 7, 11], 12
    torch.manual_seed(0)
    drawn = sample(model, PROMPTS * 20, max_new_tokens=new, eos=eos, pad=PAD, temperature=2.0)
    assert {row[-1] for row in drawn if len(row) < new} == set(eos)
    assert not any(token in eos for row in drawn for token in row[:-1])
    cut_off = [row for row in drawn if row[-1] not in eos]
    assert cut_off
    assert {len(row) for row in cut_off} == {new}
    assert all(drawn)


def test_completions_come_in_the_order_of_the_prompts(model: Qwen3ForCausalLM) -> None:
    prompts = [*PROMPTS, *PROMPTS[::-1], *PROMPTS[1::2]]
    free = sample(model, PROMPTS, max_new_tokens=20, eos=NEVER, pad=PAD, temperature=0)
    options = {"max_new_tokens": 20, "eos": [free[1][3], free[4][9]], "pad": PAD}
    alone = [sample(model, [prompt], temperature=0, **options)[0] for prompt in prompts]
    assert len(set(map(len, alone))) >= 3
    assert sample(model, prompts, temperature=0, **options) == alone


def test_the_seed_decides_the_completions(model: Qwen3ForCausalLM) -> None:
    def drawn(seed: int) -> list[list[int]]:
        torch.manual_seed(seed)
        return sample(model, PROMPTS, max_new_tokens=16, eos=[5, 7], pad=PAD)

    assert drawn(0) == drawn(0) != drawn(1)


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_of_the_model_is_left_as_it_is(model: Qwen3ForCausalLM, training: bool) -> None:
    model.train(training)
    try:
        sample(model, PROMPTS, max_new_tokens=4, eos=NEVER, pad=PAD)
        assert [module.training for module in model.modules()].count(not training) == 0
        # Sampling runs in inference mode, which must not stick to what is trained next.
        assert not any(parameter.is_inference() for parameter in model.parameters())
        model(torch.tensor([[1, 2, 3]])).logits.sum().backward()
        assert all(parameter.grad is not None for parameter in model.parameters())
    finally:
        model.eval()
        model.zero_grad()

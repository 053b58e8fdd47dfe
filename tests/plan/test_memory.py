from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1zero.core.errors import UserError
from r1zero.plan.memory import (
    colocate_utilization,
    kv_bytes_per_token,
    server_utilization,
    trainer_resident,
    training_memory,
    vllm_asleep,
    vllm_memory,
)
from r1zero.settings.architecture import Architecture

GB = 10**9
GIB = 1 << 30


def qwen(hidden: int, layers: int, heads: int, kv: int, inner: int, vocab: int, tied: bool) -> Any:
    return {
        "model_type": "qwen2",
        "vocab_size": vocab,
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv,
        "tie_word_embeddings": tied,
    }


CONFIGS = {
    "0.5B": qwen(896, 24, 14, 2, 4864, 151936, True),
    "1.5B": qwen(1536, 28, 12, 2, 8960, 151936, True),
    "3B": qwen(2048, 36, 16, 2, 11008, 151936, True),
    "7B": qwen(3584, 28, 28, 4, 18944, 152064, False),
}
PUBLISHED = {name: Architecture.from_config(config) for name, config in CONFIGS.items()}
PARAMETERS = {
    "0.5B": 494_032_768,
    "1.5B": 1_543_714_304,
    "3B": 3_085_938_688,
    "7B": 7_615_616_512,
}
TINY = {
    "vocab_size": 100,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


def train(name: str = "3B", **changes: Any) -> dict[str, int]:
    settings: dict[str, Any] = {
        "weights": "bfloat16",
        "autocast": False,
        "zero_stage": 3,
        "processes": 2,
        "micro_batch": 4,
        "prompt_length": 256,
        "completion_length": 1024,
        "checkpointing": True,
        "reference": True,
        "attention": "sdpa",
    }
    return training_memory(PUBLISHED[name], **(settings | changes))


def total(*args: Any, **changes: Any) -> int:
    return sum(train(*args, **changes).values())


@pytest.mark.parametrize("name", CONFIGS)
def test_published_models_have_their_published_parameters(name: str) -> None:
    assert PUBLISHED[name].parameters == PARAMETERS[name]


@pytest.mark.parametrize(
    ("family", "more"),
    [
        *(("qwen2", config) for config in CONFIGS.values()),
        ("qwen2", TINY),
        ("qwen2", TINY | {"tie_word_embeddings": True, "num_key_value_heads": 4}),
        ("qwen3", TINY),
        ("qwen3", TINY | {"head_dim": 16, "attention_bias": True}),
        ("llama", TINY),
        ("llama", TINY | {"attention_bias": True, "mlp_bias": True}),
    ],
)
def test_parameters_are_those_of_transformers(family: str, more: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    name = {"qwen2": "Qwen2", "qwen3": "Qwen3", "llama": "Llama"}[family]
    arguments = {key: value for key, value in more.items() if key != "model_type"}
    config = getattr(transformers, f"{name}Config")(**arguments)
    with torch.device("meta"):
        model = getattr(transformers, f"{name}ForCausalLM")(config)
    expected = sum(p.numel() for p in model.parameters())
    assert Architecture.from_config(config.to_dict()).parameters == expected
    assert Architecture.from_config({"model_type": family} | more).parameters == expected


def test_unknown_family_is_refused() -> None:
    with pytest.raises(UserError) as raised:
        Architecture.from_config({"model_type": "mixtral"} | TINY)
    assert "'mixtral'" in raised.value.message
    assert "qwen3" in raised.value.hint


def test_without_sharding_adamw_needs_sixteen_bytes_a_parameter() -> None:
    held = ("parameters", "gradients", "optimizer")
    # ZeRO paper (arXiv 1910.02054, section 3.1): 2 + 2 + 12 bytes; 122 GB for 7.6e9 parameters.
    for settings in (
        {"weights": "bfloat16", "zero_stage": 0, "processes": 1},
        {"weights": "float32", "zero_stage": 0, "processes": 1},
        {"weights": "bfloat16", "zero_stage": 3, "processes": 1},
    ):
        parts = train("7B", **settings)
        assert sum(parts[part] for part in held) == 16 * PARAMETERS["7B"]
    assert 16 * PARAMETERS["7B"] == pytest.approx(122 * GB, rel=0.01)
    plain = train("7B", zero_stage=0, processes=1, master_weights=False)
    assert sum(plain[part] for part in held) == 8 * PARAMETERS["7B"]


def test_stages_shard_as_in_the_zero_paper() -> None:
    count = PARAMETERS["7B"]
    two, three = train("7B", zero_stage=2, processes=8), train("7B", zero_stage=3, processes=8)
    assert two["parameters"] == 2 * count
    assert two["gradients"] + two["optimizer"] == 14 * count // 8
    gathered = PUBLISHED["7B"].embedding_parameters
    assert three["parameters"] == 2 * (count // 8 + gathered)
    assert two["reference"] == 2 * count
    assert three["reference"] == 2 * count // 8


def test_peers_fit_on_the_cards_they_used() -> None:
    # Cards of published runs (facts/peers.md, section 5): mini-R1's 3 H100, Datawhale's 2 A800 with
    # 4096 tokens, oat-zero's 8 A100 with a 7B model. They fit here with ZeRO-3, one row a pass.
    gpu = 80 * GIB
    assert total("3B", processes=3, micro_batch=1) < gpu
    assert total("3B", processes=2, micro_batch=1, completion_length=4096) < gpu
    assert total("7B", processes=8, micro_batch=1, completion_length=3000) < gpu
    # All of 7B's training state on one gpu does not.
    assert total("7B", zero_stage=0, processes=1, micro_batch=1) > gpu
    assert total("7B", zero_stage=2, processes=1, micro_batch=1) > gpu


def test_offload_takes_states_off_the_gpu() -> None:
    assert train(offload_optimizer=True)["optimizer"] == 0
    assert train(offload_optimizer=True)["gradients"] == 0
    kept = train(offload_optimizer=True, offload_parameters=True)["parameters"]
    assert kept == 2 * PUBLISHED["3B"].embedding_parameters
    assert total(zero_stage=3, processes=1, offload_parameters=True) < total(processes=1)


@given(
    name=st.sampled_from(sorted(CONFIGS)),
    stage=st.sampled_from([0, 2, 3]),
    processes=st.integers(2, 63),
    more=st.integers(1, 8),
    rows=st.integers(1, 16),
    reference=st.booleans(),
    checkpointing=st.booleans(),
)
def test_more_processes_never_need_more_each(
    name: str,
    stage: int,
    processes: int,
    more: int,
    rows: int,
    reference: bool,
    checkpointing: bool,
) -> None:
    settings = {
        "zero_stage": stage,
        "micro_batch": rows,
        "reference": reference,
        "checkpointing": checkpointing,
    }
    few = total(name, processes=processes, **settings)
    assert total(name, processes=processes + more, **settings) <= few


@given(
    name=st.sampled_from(sorted(CONFIGS)),
    processes=st.integers(2, 64),
    rows=st.integers(1, 16),
    reference=st.booleans(),
    attention=st.sampled_from(["eager", "sdpa", "flash"]),
)
def test_a_higher_stage_never_needs_more(
    name: str, processes: int, rows: int, reference: bool, attention: str
) -> None:
    settings = {
        "processes": processes,
        "micro_batch": rows,
        "reference": reference,
        "attention": attention,
    }
    none, two, three = (total(name, zero_stage=stage, **settings) for stage in (0, 2, 3))
    assert three <= two <= none


@given(
    name=st.sampled_from(sorted(CONFIGS)),
    rows=st.integers(1, 16),
    prompt=st.integers(1, 2000),
    completion=st.integers(1, 8000),
    more=st.tuples(st.integers(0, 3), st.integers(0, 500), st.integers(0, 500)),
    checkpointing=st.booleans(),
    attention=st.sampled_from(["eager", "sdpa", "flash"]),
    weights=st.sampled_from(["float32", "bfloat16"]),
    autocast=st.booleans(),
    device=st.sampled_from(["cpu", "cuda"]),
)
def test_longer_or_more_never_needs_less(
    name: str,
    rows: int,
    prompt: int,
    completion: int,
    more: tuple[int, int, int],
    **settings: Any,
) -> None:
    less = total(
        name, micro_batch=rows, prompt_length=prompt, completion_length=completion, **settings
    )
    assert less <= total(
        name,
        micro_batch=rows + more[0],
        prompt_length=prompt + more[1],
        completion_length=completion + more[2],
        **settings,
    )


@given(
    rows=st.integers(1, 16),
    completion=st.integers(64, 8000),
    attention=st.sampled_from(["eager", "sdpa", "flash"]),
)
def test_checkpointing_never_needs_more(rows: int, completion: int, attention: str) -> None:
    settings = {"micro_batch": rows, "completion_length": completion, "attention": attention}
    assert total(checkpointing=True, **settings) <= total(checkpointing=False, **settings)


def test_kernels_are_ordered_and_eager_grows_with_the_square() -> None:
    eager, sdpa, flash = (
        total(attention=kernel, completion_length=4096) for kernel in ("eager", "sdpa", "flash")
    )
    assert flash < sdpa < eager
    one, two, three = (
        train(attention="eager", checkpointing=False, completion_length=length)["activations"]
        for length in (4096, 8192, 12288)
    )
    # Scores of 36 layers, 16 heads and 4 completions, in float32 and bfloat16.
    assert three - 2 * two + one == 2 * 4096**2 * 36 * 16 * 4 * (4 + 2)


def test_every_part_is_a_whole_number_of_bytes() -> None:
    for parts in (
        train(),
        vllm_memory(PUBLISHED["7B"], tensor_parallel=3, sequences=5, max_length=99),
    ):
        assert all(isinstance(size, int) and size >= 0 for size in parts.values())


def test_key_value_cache_of_published_models() -> None:
    # 2 x layers x kv_heads x head_dim x 2 bytes: 28 KiB a token for 1.5B, 56 KiB for 7B.
    assert kv_bytes_per_token(PUBLISHED["1.5B"]) == 28 * 1024
    assert kv_bytes_per_token(PUBLISHED["7B"]) == 56 * 1024
    parts = vllm_memory(PUBLISHED["7B"], tensor_parallel=1, sequences=64, max_length=4096)
    assert parts["kv_cache"] == 64 * 4096 * 56 * 1024
    assert parts["weights"] == 2 * PARAMETERS["7B"]


@given(st.sampled_from(sorted(CONFIGS)), st.sampled_from([1, 2, 4]), st.integers(1, 256))
def test_tensor_parallel_divides(name: str, parallel: int, sequences: int) -> None:
    architecture = PUBLISHED[name]
    one = vllm_memory(architecture, tensor_parallel=1, sequences=sequences, max_length=2000)
    many = vllm_memory(architecture, tensor_parallel=parallel, sequences=sequences, max_length=2000)
    heads = architecture.num_key_value_heads
    assert many["kv_cache"] == one["kv_cache"] // min(parallel, heads)
    assert one["weights"] <= parallel * many["weights"] <= 1.1 * one["weights"]
    assert many["activations"] <= one["activations"]


def test_server_takes_most_of_its_cards() -> None:
    parts = vllm_memory(PUBLISHED["3B"], tensor_parallel=1, sequences=64, max_length=1280)
    assert server_utilization(parts, 80 * GIB) == 0.9
    assert server_utilization(parts, int(sum(parts.values()) / 0.935)) == 0.94
    assert server_utilization(parts, 8 * GIB) is None


@given(
    name=st.sampled_from(sorted(CONFIGS)),
    gpu=st.sampled_from([24, 40, 48, 80, 141]),
    processes=st.sampled_from([2, 4, 8]),
    sequences=st.integers(1, 512),
)
def test_colocated_vllm_gets_its_need_beside_its_trainer(
    name: str, gpu: int, processes: int, sequences: int
) -> None:
    resident = trainer_resident(train(name, processes=processes))
    parts = vllm_memory(PUBLISHED[name], tensor_parallel=1, sequences=sequences, max_length=1280)
    need, share = sum(parts.values()), colocate_utilization(parts, gpu * GIB, resident)
    if share is None:
        assert need + resident > (0.95 - 0.01) * gpu * GIB
    else:
        assert need <= share * gpu * GIB <= 0.95 * gpu * GIB - resident


def test_asleep_vllm_keeps_little() -> None:
    parts = vllm_memory(PUBLISHED["1.5B"], tensor_parallel=1, sequences=64, max_length=1280)
    assert 0 < vllm_asleep(parts) < sum(parts.values()) / 4

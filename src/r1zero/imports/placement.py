"""Who had which GPU: the number of trainers, and whether vLLM had cards to itself."""

from r1zero.imports.draft import Draft
from r1zero.imports.readers import Trainers, truth
from r1zero.imports.releases import Release


def find_trainers(draft: Draft, option: int | None) -> Trainers | None:
    """Processes that train: as said, or those before the card that vLLM has to itself."""
    found = draft.found.trainers
    if option is not None:
        return Trainers(option, "--trainers")
    device = draft.look("vllm_device")
    if draft.found.dialect == "swift" or device is None:
        return found
    card = str(device.value).removeprefix("cuda:")
    if not card.isdecimal() or int(card) == 0 or (found and found.processes <= int(card)):
        return found
    aside = f", and {found.origin} {found.processes} would train on it too" if found else ""
    origin = f"vllm_device {device.value}, so the cards before it train{aside}"
    return Trainers(int(card), f"assumed from {origin}")


def put_placement(draft: Draft, release: Release, trainers: Trainers | None) -> None:
    """Say where vLLM generated; without vLLM, a recipe's default stands."""
    uses_vllm, mode = draft.look("use_vllm"), draft.take("vllm_mode")
    device = draft.take("vllm_device")
    if mode and mode.value in {"server", "colocate"}:
        draft.put("placement", mode.value, mode.key, f"{draft.file}: {mode.key}")
    elif device and device.value is not None:
        place = _of_device(draft, str(device.value), trainers)
        told = f"{device.key} {device.value}"
        draft.put("placement", place, told, f"{draft.file}: {told}")
    elif uses_vllm and truth(uses_vllm.value, uses_vllm.where):
        place = release.defaults["vllm_mode"]
        draft.put("placement", place, f"(default of {release.name})", f"default of {release.name}")


def _of_device(draft: Draft, device: str, trainers: Trainers | None) -> str:
    """`colocate` where a trainer has the card too: `auto` is the first card that none has."""
    processes = trainers.processes if trainers else 1
    environments = (layout.get("CUDA_VISIBLE_DEVICES") for layout in draft.found.layout.values())
    visible = next((str(cards).split(",") for cards in environments if cards), None)
    card = device.partition(" ")[0].removeprefix("cuda:")
    if card.isdecimal():
        return "colocate" if int(card) < processes else "server"
    return "colocate" if visible and len(visible) <= processes else "server"

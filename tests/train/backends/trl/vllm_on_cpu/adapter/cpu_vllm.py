"""Lets the commands of a plan for GPUs run vLLM on a CPU, unchanged.

vLLM's processes load it as a plugin (`register`); in the trainer `sitecustomize` calls `hook`, by
which TRL is changed when it is imported. Weights go over gloo under the name `nccl`, and sleep
mode, which vLLM refuses on a CPU, is imitated: asleep at level 2 the weights are zero. With
`R1ZERO_BREAK_SYNC` weights are never sent.
"""

import datetime
import importlib.abc
import importlib.util
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

HOST = "127.0.0.1"
PATIENCE = datetime.timedelta(seconds=120)


def register() -> None:
    """In every process of vLLM: weights that can be loaded anew, and gloo in the place of NCCL."""
    import torch
    import vllm._custom_ops as ops
    from vllm.distributed.weight_transfer.base import (
        WeightTransferEngine,
        WeightTransferInitInfo,
        WeightTransferUpdateInfo,
    )
    from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory

    ops._supports_onednn = False  # which would pack the weights

    @dataclass
    class Start(WeightTransferInitInfo):
        master_address: str
        master_port: int
        rank_offset: int
        world_size: int
        packed: bool = False

    @dataclass
    class Update(WeightTransferUpdateInfo):
        names: list[str]
        dtype_names: list[str]
        shapes: list[list[int]]

    class Gloo(WeightTransferEngine[Start, Update]):
        init_info_cls = Start
        update_info_cls = Update
        group: Any = None

        def init_transfer_engine(self, start: Start) -> None:
            config = self.parallel_config
            rank = start.rank_offset + config.data_parallel_rank * config.world_size + config.rank
            self.group = join(start.master_port, rank, start.world_size)

        def start_weight_update(self) -> None: ...

        def finish_weight_update(self) -> None: ...

        def update_weights(self, update_info: Any) -> None:
            self.receive_weights(self.parse_update_info(update_info))

        def receive_weights(self, update: Update) -> None:
            def received() -> Any:
                for name, dtype, shape in zip(
                    update.names, update.dtype_names, update.shapes, strict=True
                ):
                    tensor = torch.empty(shape, dtype=getattr(torch, dtype))
                    broadcast(self.group, tensor)
                    yield name, tensor

            self.model.load_weights(received())

        def shutdown(self) -> None:
            self.group = None

    WeightTransferEngineFactory._registry.pop("nccl", None)
    WeightTransferEngineFactory.register_engine("nccl", Gloo)


def join(port: int, rank: int, size: int) -> Any:
    import torch

    store = torch.distributed.TCPStore(
        HOST, port, size, is_master=rank == 0, timeout=PATIENCE, wait_for_workers=False
    )
    return torch.distributed.ProcessGroupGloo(store, rank, size, PATIENCE)


def broadcast(group: Any, tensor: Any) -> None:
    import torch

    options = torch.distributed.BroadcastOptions()
    options.rootRank = options.rootTensor = 0
    group.broadcast([tensor], options).wait()


def change(generation: Any) -> None:
    """In the trainer: a client that sends over gloo, and engines without CUDA graphs and sleep."""
    import torch
    import vllm._custom_ops as ops
    from trl.generation import vllm_client

    ops._supports_onednn = False
    broken = "R1ZERO_BREAK_SYNC" in os.environ

    class Client(vllm_client.VLLMClient):
        def init_communicator(self, device: Any = 0) -> None:
            size = self.get_world_size() + 1
            place = {"master_address": HOST, "master_port": self.group_port}
            start = {**place, "rank_offset": 1, "world_size": size}
            url = f"{self.base_url}/init_weight_transfer_engine"
            with ThreadPoolExecutor(1) as pool:
                answer = pool.submit(self._post, url, json={"init_info": start})
                self.communicator = join(self.group_port, 0, size)
                answer.result()

        def update_named_params(self, metadata: Any, named_params: Any) -> None:
            if broken:
                list(named_params)
                return
            names, dtypes, shapes = (list(field) for field in zip(*metadata, strict=True))
            if not self._updating_weights:
                self._start_weight_update()
            update = {"names": names, "dtype_names": dtypes, "shapes": shapes}
            with ThreadPoolExecutor(1) as pool:
                url = f"{self.base_url}/update_weights"
                answer = pool.submit(self._post, url, json={"update_info": update})
                for _, tensor in named_params:
                    broadcast(self.communicator, tensor.detach().contiguous())
                answer.result()
            if not self._updating_weights:
                self._finish_weight_update()

        def close_communicator(self) -> None:
            self.communicator = None

    vllm_client.VLLMClient = generation.VLLMClient = Client
    make = generation.LLM

    def eager(*args: Any, enable_sleep_mode: bool, **options: Any) -> Any:
        engine = make(*args, **options, enforce_eager=True)
        model = engine.llm_engine.model_executor.driver_worker.model_runner.model

        def sleep(level: int = 1) -> None:
            engine.reset_prefix_cache()
            if level == 2:
                with torch.no_grad():
                    for parameter in model.parameters():
                        parameter.zero_()

        if enable_sleep_mode:
            engine.sleep, engine.wake_up = sleep, lambda tags=None: None
        return engine

    generation.LLM = eager
    if broken:
        send = generation.VLLMGeneration.sync_weights

        def sync_weights(self: Any) -> None:
            if self.mode == "server":
                send(self)

        generation.VLLMGeneration.sync_weights = sync_weights


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name != "trl.generation.vllm_generation":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.loader is not None
        run = spec.loader.exec_module

        def exec_module(module: Any) -> None:
            run(module)
            change(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def hook() -> None:
    sys.meta_path.insert(0, _Finder())

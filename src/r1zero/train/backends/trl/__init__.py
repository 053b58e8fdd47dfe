"""The backend `trl`: TRL's GRPOTrainer, with vLLM as the generator on GPUs.

`backend.py` says how runs are laid out and started, and `rendering.py` writes `accelerate.yaml` and
`trl.yaml`; neither needs torch. `scoring.py` is the reference model of a server. `entrypoint.py` is
the training process. Its trainer has six layers on top of TRL's
GRPOTrainer:

- `length_bucketing.py`: no computation on padding, rollouts without `generate`.
- `remote_reference.py`: the reference model is on a server.
- `rollout_recording.py`: every completion, and failures to score one, go to the recorder.
- `sampling_difference.py`: metrics of how far vLLM is from the trainer, in every run.
- `weight_sync.py`: stops when vLLM does not have the trainer's weights.
- `dynamic_sampling.py`: zero-variance groups are kept, dropped or resampled (`batches.py`).

Overridden members of TRL 1.16
------------------------------
TRL has no public hook for these. The version is pinned, and tests compare each with TRL's own.

- `__init__`: `beta` is 0 meanwhile, so that TRL makes no reference model (remote reference).
- `_generate`: the time of rollouts (length bucketing); a request to the reference server (remote
  reference); length and truncation of each completion (rollout recording); a check of vLLM's
  weights (weight sync).
- `_calculate_rewards`: problems and failures of the completions, for the record.
- `_generate_and_score_completions`: drops or resamples groups of the batch, and records it.
- `_compute_loss`: scales the loss of a batch with dropped groups (`loss_scale`); metrics of its
  log-probabilities, which `_get_per_token_logps_and_entropies` is asked for (sampling difference).
- `_get_per_token_logps_and_entropies`: the answer of the reference server (remote reference).

Replaced: the model's forward pass with TRL's fused head (`add_fused_lm_head`), by one in buckets of
similar lengths (length bucketing). `generate` of vLLM's engine or client is wrapped (weight sync),
and the engine's class while the trainer is made (`vllm_engine.py`).

Read, not overridden: `_logs` and `_metrics` (the completions and metrics of a step), and
`_log_completion_extra`, `_log_metric` to add to them.
"""

from r1zero.train.backends.trl.backend import TrlBackend

BACKEND = TrlBackend()

"""The backend `trl`: TRL's GRPOTrainer, with vLLM as the generator on GPUs.

`backend.py` says how runs are laid out and started and `rendering.py` writes `accelerate.yaml` and
`trl.yaml`; neither needs torch. `entrypoint.py` is the training process. It trains with
`RunTrainer` (`dynamic_sampling.py`: zero-variance groups and the record of rollouts) on top of
`LengthBucketingTrainer` (`length_bucketing.py`: no computation on padding).

Overridden members of TRL 1.16's GRPOTrainer
--------------------------------------------
TRL has no public hook for these; the version is pinned, and tests compare each with TRL's own.

- `_generate` (both classes): measures the time of rollouts; logs length and truncation of each
  completion.
- `_get_per_token_logps_and_entropies`: computes log-probabilities in pieces of similar lengths.
- `_generate_and_score_completions`: drops or resamples zero-variance groups of a batch and records
  it.
- `_calculate_rewards`: records completions that a reward function could not score.
- `_compute_loss`: scales the loss of a batch with dropped groups (`loss_scale`).

Read, not overridden: `_logs` and `_metrics` (the completions and metrics of a step), and
`_log_completion_extra`, `_log_metric` to add to them.
"""

from r1zero.train.backends.trl.backend import TrlBackend

BACKEND = TrlBackend()

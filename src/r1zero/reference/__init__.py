"""A reference model on a server of its own: log-probabilities of a frozen model over HTTP.

- `protocol.py`: requests, answers, and what identifies a reference model.
- `server.py`: the server; `command.py` starts it (`python -m r1zero reference`).
- `client.py`: what a trainer asks with.
- `processes.py`: how a run starts a server of its own, and what its trainers are told.

The log-probabilities are computed by the code of the trainer's backend, in the batches that the
trainer would use, so on the same device they are the same to the last bit.
"""

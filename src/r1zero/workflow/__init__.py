"""What the Snakefile asks: which runs there are, and what each job reads, makes and needs.

The rules call one `Workflow`. It holds the checked configuration and computes what is the same for
all seeds of a recipe once. It imports neither torch nor code of the user's.
"""

from r1zero.workflow.limits import Limits
from r1zero.workflow.paths import Run
from r1zero.workflow.workflow import Workflow

__all__ = ["Limits", "Run", "Workflow"]

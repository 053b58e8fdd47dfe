from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

# Recipe, task and suite names become rule names, wildcards and folders.
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]

# A run's recipe: its name, or that of a variant of it.
RunName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*(-[a-z0-9_.+-]+)?$")]


class Section(BaseModel):
    """A section of the settings: unknown keys are errors, values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

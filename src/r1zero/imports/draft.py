"""A recipe in the making: its values with their origins, and what is told about the rest."""

from collections.abc import Callable
from typing import Annotated, Any, NamedTuple, get_args

from pydantic import TypeAdapter, ValidationError

from r1zero.errors import UserError
from r1zero.imports.readers import Number, Published
from r1zero.imports.releases import Release
from r1zero.settings.recipe import Algorithm, Sizes


class Given(NamedTuple):
    """A setting as published."""

    key: str
    value: Any
    where: str
    """File and key, for errors."""

    def number(self) -> Number:
        """On its way to a number."""
        return Number(self.value, self.where)


class Draft:
    """Values of a recipe by dotted key, each with its origin, and the three lists of the report."""

    def __init__(self, found: Published, chosen: dict[str, Any]) -> None:
        self.found = found
        self.file = found.where.rpartition("/")[2]
        self.release: Release | None = None
        self.values: dict[str, Any] = {}
        self.origins: dict[str, str] = {}
        self.mapped: list[str] = []
        self.dropped: dict[str, str] = {}
        self.lost: dict[str, str] = {}
        self.missing: list[str] = []
        self._left = dict(found.settings)
        self._chosen = dict(chosen)

    def take(self, *keys: str) -> Given | None:
        """The first of some settings that the file has; all of them are dealt with then."""
        present = [key for key in keys if key in self._left]
        for key in present[1:]:
            self.dropped[key] = f"{present[0]} says it"
        values = [self._left.pop(key) for key in present]
        return Given(present[0], values[0], self._where(present[0])) if present else None

    def look(self, key: str) -> Given | None:
        """A setting, which stays to be dealt with."""
        return Given(key, self._left[key], self._where(key)) if key in self._left else None

    def chosen(self, key: str) -> Any:
        """What the command line says in place of the files, or None."""
        return self._chosen.get(key)

    def left(self) -> list[Given]:
        """Settings that nothing has dealt with."""
        return [Given(key, value, self._where(key)) for key, value in self._left.items()]

    def untold(self) -> list[Given]:
        """Settings that have been dealt with, and that no list names: nulls and the like."""
        lines = [*self.mapped, *self.dropped, *self.lost]
        told = {word for line in lines for word in line.partition(" -> ")[0].split()}
        names = [key for key in self.found.settings if key not in told and key not in self._left]
        return [Given(key, self.found.settings[key], self._where(key)) for key in names]

    def default(self, key: str) -> Any:
        """The release's default of a setting."""
        assert self.release is not None
        return self.release.defaults[key]

    def put(self, key: str, value: Any, source: str, origin: str) -> None:
        """Give a key of the recipe its value.

        Args:
            key: Dotted key of the recipe.
            value: Its value.
            source: What it was made of, for the report.
            origin: The comment beside it.

        """
        self.values[key] = value
        self.origins[key] = origin
        self.mapped.append(f"{source} -> {key}: {_shown(value)}")

    def lack(self, key: str, source: str, what_to_do: str) -> None:
        """A key of the recipe has no value: nothing can be written, and this would mend it."""
        self.missing.append(key)
        self.lost[source] = what_to_do

    def number(self, key: str) -> None:
        """Carry a real number over."""
        self.carry(key, read=lambda given: given.number().real())

    def integer(self, key: str) -> None:
        """Carry an integer of at least 1 over."""
        self.carry(key, read=lambda given: given.number().positive())

    def carry(self, key: str, *names: str, read: Callable[[Given], Any]) -> None:
        """Carry a setting over: the command line's word, else the file's, else the default."""
        short = key.rpartition(".")[2]
        given = self.take(*(names or (short,)))
        if (option := self.chosen(short)) is not None:
            if given:
                self.dropped[given.key] = f"--set {short} says otherwise"
            self.put(key, option, "--set", "chosen at import")
        elif given and given.value is not None:
            self.put(key, read(given), given.key, f"{self.file}: {given.key}")
        else:
            assert self.release is not None
            origin = f"not set; default of {self.release.name}"
            self.put(key, self.default(short), f"(default of {self.release.name})", origin)

    def choice(self, key: str, *names: str, read: Callable[[Given], Any] | None = None) -> None:
        """Carry a setting of the algorithm over that has few values."""
        short = key.rpartition(".")[2]
        known = get_args(Algorithm.model_fields[short].annotation)
        self.carry(key, *names, read=read or (lambda given: given.value))
        if self.values[key] not in known:
            self.lack(
                key,
                f"{short} {self.values[key]}",
                f"no recipe can have it; choose with --set {short}=X from {', '.join(known)}",
            )

    def _where(self, key: str) -> str:
        return f"{self.found.where}: {key}"


def parse_choices(options: list[str]) -> dict[str, Any]:
    """Values of `--set KEY=VALUE`, for keys of a recipe's algorithm and sizes."""
    known = Algorithm.model_fields | Sizes.model_fields
    chosen: dict[str, Any] = {}
    for option in options:
        key, equals, value = option.partition("=")
        if not (equals and value):
            raise UserError(f"'{option}' is not KEY=VALUE", where="--set")
        if key not in known:
            hint = f"known: {', '.join(sorted(known))}"
            raise UserError(f"no recipe has '{key}'", where="--set", hint=hint)
        chosen[key] = _checked(key, value)
    return chosen


def _checked(key: str, value: str) -> Any:
    field = (Algorithm.model_fields | Sizes.model_fields)[key]
    annotation: Any = Annotated[field.annotation, field]
    try:
        return TypeAdapter(annotation).validate_python(value)
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise UserError(f"'{value}': {reason}", where=f"--set {key}") from None


def _shown(value: Any) -> str:
    """A value in the report; of rewards, their names and weights."""
    if isinstance(value, list):
        return ", ".join(f"{term['name']} {term['weight']:g}" for term in value)
    return str(value)

"""The exception that is meant for the user, and the removal of secrets from messages."""

import os
import re

# Up to the last @ before the path: a password may hold one itself.
_CREDENTIALS = re.compile(r"(?<=://)[^\s/'\"]*@")
# Addresses of a content network carry their signature in the query.
_QUERY = re.compile(r"(https?://[^\s?'\"<>]+)\?[^\s'\"<>]*")
_TOKEN = re.compile(r"TOKEN|SECRET|PASSWORD|API_KEY")
_LONGEST = 300
_secrets: dict[str, str] = {}


class UserError(Exception):
    """An error that the user can fix: what is wrong, where, and what would work.

    The command line prints it as one line, without a traceback, and exits with status 2.
    """

    def __init__(self, message: str, *, where: str = "", hint: str = "") -> None:
        self.message, self.where, self.hint = message, where, hint
        super().__init__(str(self))

    def __str__(self) -> str:
        """One line: `where: message (hint)`."""
        line = f"{self.where}: {self.message}" if self.where else self.message
        return f"{line} ({self.hint})" if self.hint else line


def read_secret(variable: str) -> str | None:
    """Value of an environment variable that holds a token; `redact` removes it from messages.

    Raises:
        UserError: It contains characters that are not allowed in a token.

    """
    value = os.environ.get(variable, "").strip()
    if not value:
        return None
    _secrets[variable] = value
    if not (value.isascii() and value.isprintable()) or " " in value:
        raise UserError(
            "contains characters that are not allowed in a token", where=f"environment: {variable}"
        )
    return value


def redact(text: str) -> str:
    """Shorten foreign text to one line without credentials.

    Removes the tokens of the environment, the user names and passwords of addresses, and the
    queries of addresses, which may be signatures.
    """
    line = " ".join(text.split())
    line = _QUERY.sub(r"\1", _CREDENTIALS.sub("", line))
    named = {k: v.strip() for k, v in os.environ.items() if _TOKEN.search(k.upper())} | _secrets
    for name, value in named.items():
        if len(value) >= 8:
            line = line.replace(value, f"${name}")
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"

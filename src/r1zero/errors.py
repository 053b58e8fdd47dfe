"""The one exception that is meant for the user, and what no message may hold."""

import os
import re

_CREDENTIALS = re.compile(r"(?<=://)[^\s/@'\"]+@")
# Addresses of a content network carry their signature in the query.
_QUERY = re.compile(r"(https?://[^\s?'\"<>]+)\?[^\s'\"<>]*")
_TOKEN = re.compile(r"TOKEN|SECRET|PASSWORD|API_KEY")
_LONGEST = 300


class UserError(Exception):
    """Something the user can mend: what is wrong, where, and what would work.

    The command line prints it as one line, without a traceback, and exits with status 2.
    """

    def __init__(self, message: str, *, where: str = "", hint: str = "") -> None:
        self.message, self.where, self.hint = message, where, hint
        super().__init__(str(self))

    def __str__(self) -> str:
        """One line: `where: message (hint)`."""
        line = f"{self.where}: {self.message}" if self.where else self.message
        return f"{line} ({self.hint})" if self.hint else line


def redact(text: str) -> str:
    """One short line of foreign text without credentials.

    Taken out are the values of environment variables that hold tokens, names and passwords in
    addresses, and the queries of addresses, which may be signatures.
    """
    line = " ".join(text.split())
    line = _QUERY.sub(r"\1", _CREDENTIALS.sub("", line))
    for name, value in os.environ.items():
        if len(value) >= 8 and _TOKEN.search(name.upper()):
            line = line.replace(value, f"${name}")
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"

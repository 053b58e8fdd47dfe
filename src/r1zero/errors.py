"""The one exception that is meant for the user."""


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

"""Why a request is refused. Each class is one HTTP status; the message names the thing and the remedy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from shared.errors import PermanentError


class Refused(PermanentError):
    """Base. `errors` lists the bad fields, where there are several; `errors_total` counts them, also those not listed."""

    status = 400
    title = "Bad request"
    code = "bad_request"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        errors: Sequence[Mapping[str, object]] = (),
        errors_total: int | None = None,
    ) -> None:
        super().__init__(message, code=code)
        self.errors = [dict(error) for error in errors]
        self.errors_total = len(self.errors) if errors_total is None else errors_total


class Contradictory(Refused):
    title = "Contradictory arguments"
    code = "contradictory_arguments"


class ForeignOrigin(Refused):
    status = 403
    title = "Foreign origin"
    code = "foreign_origin"


class ReadOnly(Refused):
    status = 403
    title = "Read only"
    code = "read_only"


class NotFound(Refused):
    status = 404
    title = "Not found"
    code = "not_found"


class NotAcceptable(Refused):
    status = 406
    title = "Not acceptable"
    code = "not_acceptable"


class Conflict(Refused):
    status = 409
    title = "Conflict"
    code = "conflict"


class Invalid(Refused):
    status = 422
    title = "Invalid"
    code = "invalid"


class Busy(Refused):
    """The server has as much to do as it takes on."""

    status = 503
    title = "Busy"
    code = "busy"
    retry_after = 5


class NotFetched(Invalid):
    """What is asked about is not stored, and reading never fetches."""

    code = "not_fetched"

    def __init__(self, symbols: Sequence[str], column: str) -> None:
        named = ", ".join(symbols)
        super().__init__(
            f"No price of {named} is stored. Prices are fetched for what portfolios hold: give one a lot of it "
            "(leadline import FILE.csv --name Watch --equity 1000), or name a symbol that is held.",
            errors=[
                {
                    "row": None,
                    "column": column,
                    "code": self.code,
                    "message": "no price is stored",
                    "value": symbol[:100],
                }
                for symbol in symbols
            ],
        )


class Unauthorised(Refused):
    status = 401
    title = "Unauthorised"
    code = "unauthorised"


class Misdirected(Refused):
    status = 421
    title = "Misdirected request"
    code = "unknown_host"


class TooLarge(Refused):
    status = 413
    title = "Too large"
    code = "too_large"


class RoleTooSmall(Refused):
    status = 403
    title = "Role too small"
    code = "role_too_small"


class InstallationOnly(Refused):
    """A call about the whole installation, from somebody who has only a part of it."""

    status = 403
    title = "For the installation's operator"
    code = "installation_only"


class TooManyGuesses(Refused):
    status = 429
    title = "Too many wrong tokens"
    code = "too_many_guesses"

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class TooManyRequests(Refused):
    status = 429
    title = "Too many requests"
    code = "too_many_requests"

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unavailable(Refused):
    """The answer cannot be known now."""

    status = 503
    title = "Unavailable"
    code = "database_unavailable"
    retry_after = 5.0

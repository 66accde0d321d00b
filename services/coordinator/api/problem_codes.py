"""Every code of a problem document, with what it means and what to do. `type` of a problem points at its line on `/docs/problems`."""

from __future__ import annotations

from dataclasses import dataclass

PATH = "/docs/problems"


@dataclass(frozen=True, slots=True)
class ProblemCode:
    """status: of the HTTP answer."""

    code: str
    status: int
    meaning: str
    remedy: str


CODES: tuple[ProblemCode, ...] = (
    ProblemCode("bad_request", 400, "The request cannot be understood.", "Read `detail`, which names the part."),
    ProblemCode(
        "contradictory_arguments", 400, "Two arguments exclude each other.", "Leave one out, or swap the dates of a range."
    ),
    ProblemCode(
        "unauthorised", 401, "The server wants a bearer token, and none or a wrong one was sent.",
        "Send `Authorization: Bearer …` once, with the token of the server.",
    ),
    ProblemCode(
        "foreign_origin", 403, "A page of another site asked for a change.",
        "Make changes from pages of this server, or from a program.",
    ),
    ProblemCode(
        "read_only", 403, "The server that was asked only reads (LEADLINE_READ_ONLY). Nothing was done.",
        "Send changes to the coordinator that takes them.",
    ),
    ProblemCode(
        "role_too_small", 403, "The token's role does not allow the call. Nothing was done.",
        "Use a token of the role that `detail` names; an operator creates one with `leadline token create`.",
    ),
    ProblemCode(
        "installation_only", 403, "The call concerns the whole installation, and the token is of one tenant. Nothing was done.",
        "Use a token of an operator of the first tenant, or LEADLINE_TOKEN.",
    ),
    ProblemCode(
        "not_found", 404, "There is no such thing, or nothing has been computed for it yet.",
        "Check the id; `GET /api/v1/portfolios/{id}/status` says what is missing and when it will be there.",
    ),
    ProblemCode("not_due_yet", 404, "The session is after the last one that is due.", "Ask for an earlier session."),
    ProblemCode(
        "not_a_session", 404, "The exchange did not trade on that day.", "Take the session before or after, which `detail` names."
    ),
    ProblemCode("closed", 404, "A closure was entered for that day.", "Take the session before or after."),
    ProblemCode("no_session", 404, "The portfolio has no position, and so no session.", "Add a position."),
    ProblemCode(
        "before_first_session", 404, "The session is before the portfolio's first one.", "Ask for its first session or a later one."
    ),
    ProblemCode("no_price", 404, "A symbol has no price in the whole window of its figures.", "`detail` has the reason."),
    ProblemCode("http", 404, "There is no such path, or it does not know the method.", "See `Allow`, and `/openapi.json`."),
    ProblemCode(
        "thinned_out", 404, "Of the session only what ranges are made of is kept, not the figure or holdings that are asked about.",
        "Work the session out again: `leadline rerun ID --phase risk --what all --from DAY --to DAY`.",
    ),
    ProblemCode(
        "not_acceptable", 406, "The answer cannot be had in the form that was asked for.",
        "Send `Accept: application/json`, or `text/csv` for a table.",
    ),
    ProblemCode("conflict", 409, "What is stored does not allow it.", "Read the thing again, then decide."),
    ProblemCode(
        "role_above_users", 409, "A token would do more than the user it is of may.",
        "Choose a smaller role, or give the user a larger one.",
    ),
    ProblemCode(
        "over_quota", 409, "The tenant would have more portfolios or lots than its quota. Nothing was saved.",
        "Delete what is not needed; an operator of the installation sets the quota.",
    ),
    ProblemCode("user_name_taken", 409, "The tenant has a user of that name.", "Choose another name."),
    ProblemCode("too_many_users", 409, "The tenant has as many users as it can have.", "Remove some."),
    ProblemCode(
        "last_operator", 409, "The user is the last operator with a way to sign in, and nobody could make another.",
        "Make somebody else an operator first; of a tenant, an operator of the first tenant can do it all the same.",
    ),
    ProblemCode("too_many_invitations", 409, "As many invitations are open as there can be.", "Withdraw some."),
    ProblemCode("tenant_name_taken", 409, "A tenant of that name is there already.", "Choose another name."),
    ProblemCode("too_many_tenants", 409, "There are as many tenants as there can be.", "Use one that is there."),
    ProblemCode(
        "first_tenant_stays", 409, "The first tenant cannot be closed: its operators operate the installation.", "Close another one."
    ),
    ProblemCode(
        "duplicate_name", 409, "There is a portfolio of that name already.",
        "Import into it, or say allow_duplicate_name for a second one.",
    ),
    ProblemCode("name_taken", 409, "A token of that name is in force.", "Choose another name, or revoke that token first."),
    ProblemCode(
        "operator_first", 409, "The first token would end open access, and could make no other.",
        "Create one with the role operator first, or set LEADLINE_TOKEN.",
    ),
    ProblemCode("too_many_tokens", 409, "There are as many tokens as there can be.", "Revoke some."),
    ProblemCode(
        "webhook_name_taken", 409, "There is a webhook of that name.", "Choose another name, or delete that webhook first."
    ),
    ProblemCode("too_many_limits", 409, "There are as many limits as there can be.", "Delete some."),
    ProblemCode("too_many_webhooks", 409, "There are as many webhooks as there can be.", "Delete some."),
    ProblemCode(
        "calendar_moved", 409, "The exchange calendar was changed while the request was checked. Nothing was done.", "Send it again."
    ),
    ProblemCode(
        "answer_forgotten", 409, "The request with that Idempotency-Key was done; its answer was large and is not kept any more.",
        "Read what the request was about; nothing was done again.",
    ),
    ProblemCode(
        "too_large", 413, "The body is over the limit.", "Send a smaller file, or raise LEADLINE_MAX_BODY_MB."
    ),
    ProblemCode(
        "unknown_host", 421, "The request was sent to a name that is none of this server's.",
        "Call it by 127.0.0.1 or localhost, or list the name in LEADLINE_HOSTS.",
    ),
    ProblemCode(
        "too_many_guesses", 429, "Too many wrong tokens came from that address.",
        "Wait as `Retry-After` says; tokens that were right from there before still work.",
    ),
    ProblemCode(
        "too_many_requests", 429, "One caller asked for more than the server answers. Nothing was done.",
        "Wait as `Retry-After` says, ask less often, or raise LEADLINE_RATE_LIMIT.",
    ),
    ProblemCode("invalid", 422, "Fields cannot be read or used.", "`errors` lists each with its place and what is wrong."),
    ProblemCode(
        "not_fetched", 422, "No price of a symbol is stored, and reading fetches nothing.",
        "Give a portfolio a lot of it: `leadline import FILE.csv --name Watch --equity 1000`.",
    ),
    ProblemCode("unknown_parameter", 422, "A query parameter is not known here. Nothing was done.", "`errors` names the close one."),
    ProblemCode("repeated_parameter", 422, "A query parameter that takes one value was given twice. Nothing was done.", "Give it once."),
    ProblemCode("unexpected_body", 422, "A body was sent where none is taken. Nothing was done.", "Use query parameters."),
    ProblemCode(
        "unknown_cursor", 422, "The cursor is not one of this list.", "Use `next` of the page before, unchanged, or none."
    ),
    ProblemCode(
        "idempotency_key_reused", 422, "The Idempotency-Key was used for another request.", "Use a fresh key for each change."
    ),
    ProblemCode(
        "outside_the_calendar", 422, "The day is outside the exchange calendar.", "Take a day within it."
    ),
    ProblemCode(
        "outside_the_session", 422, "The hour is outside of the session.", "Take an hour between open and regular close."
    ),
    ProblemCode("internal", 500, "The server failed. It is logged.", "Look at the server's log, and report it."),
    ProblemCode(
        "busy", 503, "The server has as much to do as it takes on at once. Nothing was done.",
        "Send it again after `Retry-After` seconds; fewer at a time if it goes on.",
    ),
    ProblemCode(
        "database_unavailable", 503, "The database is not reachable. Nothing was changed.", "Try again after `Retry-After` seconds."
    ),
)  # fmt: skip
KNOWN = frozenset(each.code for each in CODES)


def type_of(code: str) -> str:
    """The URI of a problem's type, relative to the server that answered. Codes of the importer and the like stand as they are."""
    return f"{PATH}#{code}"

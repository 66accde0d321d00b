"""`leadline user` and `leadline tenant`: who acts for a tenant, and the tenants of an installation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from leadline.commands.tenancy import RoleOption, Tenant, tenant_of, user_of
from leadline.http import Client
from leadline.names import IdOrName, one_named
from leadline.run import Json, console_for, print_document, reports, tell
from leadline.tables.grid import table
from leadline.tables.text import echo, text


def users(client: Callable[[], Client]) -> typer.Typer:
    """The command group. `client` makes the API's client, a command at a time."""
    app = typer.Typer(help="Users and service accounts of a tenant, and invitations to it.", no_args_is_help=True)

    @app.command("list")
    @reports
    def list_users(tenant: Tenant = None, as_json: Json = False) -> None:  # noqa: FBT002
        """Users and service accounts, by name."""
        with client() as api:
            answer = api.get("/admin/users", **tenant_of(api, tenant))
        _show(answer, "Users", "There is no user.", "name", "kind", "role", "created_at", "id", as_json=as_json)

    @app.command("create")
    @reports
    def create(
        name: Annotated[str, typer.Option(help="What the account is called")],
        role: RoleOption,
        person: Annotated[bool, typer.Option("--person", help="A person rather than a program")] = False,  # noqa: FBT002
        tenant: Tenant = None,
        as_json: Json = False,  # noqa: FBT002
    ) -> None:
        """Create a service account, or a person who is let in by tokens; prints its id."""
        body = {"name": name, "role": role.value, "kind": "person" if person else "service"}
        with client() as api:
            answer = api.post("/admin/users", json=body, params=tenant_of(api, tenant))
        tell(answer, answer["id"], as_json=as_json)

    @app.command("role")
    @reports
    def change(user: IdOrName, role: RoleOption, tenant: Tenant = None, as_json: Json = False) -> None:  # noqa: FBT002
        """Give a user another role; their tokens do at most what they may."""
        with client() as api:
            where = tenant_of(api, tenant)
            found = user_of(api, user, where)
            answer = api.patch(f"/admin/users/{found['id']}", json={"role": role.value}, params=where)
        tell(answer, f"{answer['name']} is {answer['role']}", as_json=as_json)

    _endings(app, client)
    _invitations(app, client)
    return app


def _endings(app: typer.Typer, client: Callable[[], Client]) -> None:
    @app.command("remove")
    @reports
    def remove(user: IdOrName, tenant: Tenant = None, as_json: Json = False) -> None:  # noqa: FBT002
        """Remove a user: within five seconds none of their tokens and sessions works."""
        with client() as api:
            where = tenant_of(api, tenant)
            found = user_of(api, user, where)
            api.delete(f"/admin/users/{found['id']}", params=where)
        tell({"id": found["id"], "removed": True}, f"{found['name']} is removed", as_json=as_json)

    @app.command("sign-out")
    @reports
    def sign_out(user: IdOrName, tenant: Tenant = None, as_json: Json = False) -> None:  # noqa: FBT002
        """Sign a user out of every browser. Tokens stay; `leadline token revoke` ends one."""
        with client() as api:
            where = tenant_of(api, tenant)
            found = user_of(api, user, where)
            api.post(f"/admin/users/{found['id']}/sign-out", params=where)
        tell({"id": found["id"], "signed_out": True}, f"{found['name']} is signed out everywhere", as_json=as_json)


def _invitations(app: typer.Typer, client: Callable[[], Client]) -> None:
    @app.command("invite")
    @reports
    def invite(
        name: Annotated[str, typer.Option(help="Who is invited")],
        role: RoleOption,
        tenant: Tenant = None,
        as_json: Json = False,  # noqa: FBT002
    ) -> None:
        """Print a link that makes whoever opens it a member, once, within seven days."""
        with client() as api:
            answer = api.post(
                "/admin/invitations", json={"name": name, "role": role.value}, params=tenant_of(api, tenant)
            )
            answer["link"] = f"{api.url}{answer['page']}"
        tell(answer, answer["link"], as_json=as_json)

    @app.command("invitations")
    @reports
    def list_invitations(tenant: Tenant = None, as_json: Json = False) -> None:  # noqa: FBT002
        """Invitations, newest first."""
        with client() as api:
            answer = api.get("/admin/invitations", **tenant_of(api, tenant))
        columns = ("name", "role", "state", "expires_at", "id")
        _show(answer, "Invitations", "Nobody was invited.", *columns, as_json=as_json)

    @app.command("withdraw")
    @reports
    def withdraw(invitation: IdOrName, tenant: Tenant = None, as_json: Json = False) -> None:  # noqa: FBT002
        """Withdraw an invitation that nobody has accepted."""
        with client() as api:
            where = tenant_of(api, tenant)
            items = [each for each in api.get("/admin/invitations", **where)["items"] if each["state"] == "open"]
            missing = f"There is no open invitation {invitation!r}"
            found = one_named(items, invitation, missing=missing, listing="leadline user invitations")
            api.delete(f"/admin/invitations/{found['id']}", params=where)
        tell({"id": found["id"], "withdrawn": True}, "The invitation is withdrawn", as_json=as_json)


Count = Annotated[int | None, typer.Option(min=0)]


def tenants(client: Callable[[], Client]) -> typer.Typer:
    """The command group of tenants: for the installation's operator."""
    app = typer.Typer(help="Tenants of the installation and their quotas.", no_args_is_help=True)

    @app.command("list")
    @reports
    def list_tenants(as_json: Json = False) -> None:  # noqa: FBT002
        """Tenants, oldest first, with how much they have."""
        with client() as api:
            answer = api.get("/admin/tenants")
        columns = (
            "name",
            "portfolios",
            "users",
            "max_portfolios",
            "max_lots",
            "max_streams",
            "calls_per_second",
            "closed_at",
            "id",
        )
        _show(answer, "Tenants", "There is no tenant.", *columns, as_json=as_json)

    @app.command("create")
    @reports
    def create(
        name: Annotated[str, typer.Option(help="What the tenant is called")],
        max_portfolios: Count = None,
        max_lots: Count = None,
        max_streams: Count = None,
        calls_per_second: Annotated[float | None, typer.Option()] = None,
        as_json: Json = False,  # noqa: FBT002
    ) -> None:
        """Create a tenant; prints its id. Then invite its first operator: leadline user invite --tenant NAME."""
        body = {
            "name": name, "max_portfolios": max_portfolios, "max_lots": max_lots, "max_streams": max_streams,
            "calls_per_second": calls_per_second,
        }  # fmt: skip
        with client() as api:
            answer = api.post("/admin/tenants", json=body)
        tell(answer, answer["id"], as_json=as_json)

    _changes(app, client)
    return app


def _changes(app: typer.Typer, client: Callable[[], Client]) -> None:
    @app.command("quota")
    @reports
    def quota(
        tenant: IdOrName,
        max_portfolios: Count = None,
        max_lots: Count = None,
        max_streams: Count = None,
        calls_per_second: Annotated[float | None, typer.Option()] = None,
        as_json: Json = False,  # noqa: FBT002
    ) -> None:
        """Set quotas of a tenant; those not named stay."""
        given = {
            "max_portfolios": max_portfolios, "max_lots": max_lots, "max_streams": max_streams, "calls_per_second": calls_per_second,
        }  # fmt: skip
        _change(client, tenant, {key: value for key, value in given.items() if value is not None}, as_json=as_json)

    @app.command("close")
    @reports
    def close(tenant: IdOrName, as_json: Json = False) -> None:  # noqa: FBT002
        """Let nobody of a tenant in any more; what it has stays."""
        _change(client, tenant, {"closed": True}, as_json=as_json)

    @app.command("open")
    @reports
    def reopen(tenant: IdOrName, as_json: Json = False) -> None:  # noqa: FBT002
        """Let the users of a closed tenant in again."""
        _change(client, tenant, {"closed": False}, as_json=as_json)


def _change(client: Callable[[], Client], tenant: str, body: dict[str, Any], *, as_json: bool) -> None:
    with client() as api:
        of = tenant_of(api, tenant)["tenant_id"]
        answer = api.patch(f"/admin/tenants/{of}", json=body)
    tell(answer, f"{answer['name']}: {'closed' if answer['closed_at'] else 'open'}", as_json=as_json)


def _show(answer: dict[str, Any], title: str, none: str, *columns: str, as_json: bool) -> None:
    """The items of an answer as a table, or what to say where there is none."""
    items = answer["items"]
    if as_json:
        print_document(answer)
    elif not items:
        echo(none)
    else:
        rows = table(f"{title} ({len(items)})", *(column.replace("_", " ") for column in columns), left=len(columns))
        for item in items:
            rows.add_row(*(text(item[column]) for column in columns))
        console_for().print(rows)

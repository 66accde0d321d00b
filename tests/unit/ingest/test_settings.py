import pytest
from pydantic import ValidationError

from services.ingest.app import create_app
from services.ingest.settings import IngestSettings


def test_providers_are_a_list_in_the_users_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEADLINE_PROVIDERS", " File ")
    assert IngestSettings().providers == ("file",)


@pytest.mark.parametrize("value", [" ", "file,file", "bloomberg"])
def test_a_provider_nobody_knows_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("LEADLINE_PROVIDERS", value)
    with pytest.raises(ValidationError, match="LEADLINE_PROVIDERS must name some of file"):
        IngestSettings()


def test_the_application_is_built_without_a_database_or_a_file() -> None:
    app = create_app(IngestSettings())
    assert {"/livez", "/readyz", "/metrics", "/asyncapi"} <= app.openapi()["paths"].keys()

import pytest
from pydantic import ValidationError

from services.ingest.app import create_app
from services.ingest.settings import IngestSettings
from shared.errors import ConfigurationError


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


def test_keys_and_quotas_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEADLINE_PROVIDERS", "file,yahoo,yahooquery,massive,fmp")
    monkeypatch.setenv("POLYGON_API_KEY", "old name")
    monkeypatch.setenv("LEADLINE_FMP_API_KEY", "a key of mine")
    monkeypatch.setenv("LEADLINE_FMP_QUOTA", "300/minute")
    settings = IngestSettings()
    assert settings.providers == ("file", "yahoo", "yahooquery", "massive", "fmp")
    assert settings.massive_api_key is not None
    assert settings.massive_api_key.get_secret_value() == "old name"
    assert settings.fmp_quota == "300/minute"
    assert "a key of mine" not in repr(settings)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"providers": "fmp"}, "set LEADLINE_FMP_API_KEY"),
        ({"providers": "tiingo"}, "set LEADLINE_TIINGO_API_KEY"),
        ({"providers": "massive", "massive_api_key": " "}, "set LEADLINE_MASSIVE_API_KEY"),
        ({"providers": "yahoo", "yahoo_quota": "many"}, "LEADLINE_YAHOO_QUOTA: 'many' is not a quota"),
    ],
)
def test_a_provider_that_cannot_work_is_told_at_the_start(values: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        create_app(IngestSettings(**values))  # type: ignore[arg-type]


def test_sources_of_curves_may_be_named_among_the_providers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEADLINE_PROVIDERS", "yahoo, Fred")
    assert (IngestSettings().providers, IngestSettings().curve_sources) == (("yahoo",), ("fred",))
    monkeypatch.setenv("LEADLINE_REFERENCE_PROVIDERS", "none")
    assert (IngestSettings().providers, IngestSettings().curve_sources) == (("yahoo",), ())
    monkeypatch.setenv("LEADLINE_PROVIDERS", "treasury")
    with pytest.raises(ValidationError, match="LEADLINE_PROVIDERS must name some of file"):
        IngestSettings()

"""Settings of the services in an embedded run: what its options say, and the environment for the rest. Loads nothing that serves."""

from __future__ import annotations

import importlib
from typing import Any

from pydantic import ValidationError

from shared.errors import ConfigurationError
from shared.settings import ServiceSettings


def settings_of(service: str, **values: Any) -> ServiceSettings:
    """A service's settings: what is given here, and the environment for the rest.

    By convention `services.<name>.settings` has `<Name>Settings`, and `services.<name>.app` has `create_app(settings)`.
    Raises `ConfigurationError` for a value that cannot be.
    """
    module = importlib.import_module(f"services.{service}.settings")
    try:
        settings = getattr(module, f"{service.capitalize()}Settings")(**values)
    except ValidationError as error:
        raise ConfigurationError(f"settings of {service}: {error}") from error
    assert isinstance(settings, ServiceSettings)
    return settings

"""Patches moto's server: removes unnecessary work at each call, and the access that moto gives to web pages."""

from __future__ import annotations

import functools
import logging
import warnings

from moto.core.base_backend import BackendDict
from moto.core.common_models import BaseModel
from moto.core.config import default_user_config
from moto.moto_server import werkzeug_app
from moto.server import DomainDispatcherApplication

from ekyc.localaws.moto_patches.border import replace


def patch() -> None:
    """Patch moto's server, once per process."""
    # moto logs each error of a state, which is also in the history, and warns about resources that it does not support.
    logging.getLogger("moto").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", message="Tried to parse AWS::", category=UserWarning)
    default_user_config["stepfunctions"] = {"execute_state_machine": True}
    replace(werkzeug_app, "DISABLE_GLOBAL_CORS", True)  # otherwise moto lets every web page read every response
    _quicken()


def _quicken() -> None:
    # moto keeps every object that it ever created, for its dashboard, with two copies of a record for each write.
    replace(BaseModel, "__new__", lambda cls, *_arguments, **_named: super(BaseModel, cls).__new__(cls))
    # At each access to a service, moto compares all its services with one another.
    make = BackendDict._create_account_specific_backend
    replace(BackendDict, "_create_account_specific_backend", lambda self, name: name in self.keys() or make(self, name))
    # For each request, moto searches its own folders for the service of the host.
    cached = functools.cache(DomainDispatcherApplication.get_backend_for_host)
    replace(DomainDispatcherApplication, "get_backend_for_host", cached)

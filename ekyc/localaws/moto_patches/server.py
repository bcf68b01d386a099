"""moto's server: what it does at every call and nobody here needs, and what it lets each web page do."""

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
    """Make moto's server quiet and quick, and let no web page in."""
    # moto logs every error of a state, which the history has, and warns of resources that it does not make.
    logging.getLogger("moto").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", message="Tried to parse AWS::", category=UserWarning)
    default_user_config["stepfunctions"] = {"execute_state_machine": True}
    replace(werkzeug_app, "DISABLE_GLOBAL_CORS", True)  # it would let each web page read each answer
    _quicken()


def _quicken() -> None:
    # moto keeps whatever it ever made, for a page that shows it: with two copies of a record at each write.
    replace(BaseModel, "__new__", lambda cls, *_arguments, **_named: super(BaseModel, cls).__new__(cls))
    # It compares all its services with one another at every access to one.
    make = BackendDict._create_account_specific_backend
    replace(BackendDict, "_create_account_specific_backend", lambda self, name: name in self.keys() or make(self, name))
    # It looks through its own folders to find out whose host a host is.
    find = functools.cache(DomainDispatcherApplication.get_backend_for_host)
    replace(DomainDispatcherApplication, "get_backend_for_host", find)

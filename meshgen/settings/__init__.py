"""What an owner decides about a node: every key with its meaning, default and bounds, and where its value came from.

A value is looked up in layers, later ones win: defaults < profile (``peers/X.yaml``) < config file < environment
(``MESHGEN_WORKER__SLOTS=2``) < command line. Unknown keys are errors, because a typo that is silently ignored costs an evening.

``python -m meshgen.settings`` prints ``config.example.yaml``.
"""

from meshgen.home import CONFIG_FILE, home_dir
from meshgen.settings.load import SettingsError, load_settings
from meshgen.settings.model import (
    ApiSettings,
    LimitSettings,
    MeshSettings,
    NodeSettings,
    RequesterSettings,
    Role,
    Settings,
    WorkerSettings,
)
from meshgen.settings.profiles import profile_names, profiles_dir
from meshgen.settings.source import LIVE, Source, dotted, following

__all__ = [
    "CONFIG_FILE",
    "LIVE",
    "ApiSettings",
    "LimitSettings",
    "MeshSettings",
    "NodeSettings",
    "RequesterSettings",
    "Role",
    "Settings",
    "SettingsError",
    "Source",
    "WorkerSettings",
    "dotted",
    "following",
    "home_dir",
    "load_settings",
    "profile_names",
    "profiles_dir",
]

"""The settings: each has a default and a meaning; this package alone reads the environment.

A setting is ``GROUP.NAME`` in a TOML file (table ``[GROUP]``) and ``ADER_GROUP_NAME`` in the
environment; the environment overrides the file, the command line overrides both. The file is named
by ``ADER_SETTINGS``. Durations are numbers with a unit (``500ms``, ``30m``, ``7d``).
"""

from ader_stream.settings.environment import kafka_image, worker_environment
from ader_stream.settings.groups import KafkaSettings
from ader_stream.settings.load import describe_settings, load_settings
from ader_stream.settings.whole import Settings

__all__ = [
    "KafkaSettings",
    "Settings",
    "describe_settings",
    "kafka_image",
    "load_settings",
    "worker_environment",
]

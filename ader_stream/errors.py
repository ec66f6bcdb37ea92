"""Every error that ader-stream raises on purpose.

::

    AderError                 the root: one clear line, no traceback on the command line
    ├── InputError            the user's input cannot be used (exit code 2)
    │   ├── SettingsError     a setting is unknown, malformed or contradicts another one
    │   ├── DatasetError      a data set is missing or malformed (names file and line)
    │   ├── EventTimeError    event times, read as the settings say, cannot be right
    │   └── UnreachableError  no Kafka answers at the given address
    ├── SpaceError            a disk has too little space for what must be written
    ├── BrokerError           a local Kafka could not be started, found or stopped
    ├── DecodeError           a record does not match its schema or format
    │   ├── ClickError        a click that becomes a dead letter; carries the reason
    │   ├── IgnoredError      a record that is no click by the settings; carries the reason
    │   └── NewerSchemaError  a record was written by a newer release than this one
    ├── NotYetError           a record cannot be read yet: a service it needs is silent
    ├── AuthorizationError    the cluster refuses a request of this user; names the right
    ├── TopicError            a topic is missing, or its partitions or settings are wrong
    ├── ClientError           Kafka's client has failed and cannot be used any longer
    ├── OffsetError           the log no longer has an offset that is needed
    ├── FencedError           another process has taken over; this one must stop
    ├── NameInUseError        a group still has a member with this name
    ├── ArtifactError         a model artifact is damaged, incomplete, unsigned or too new
    ├── NotBetterError        a canary is not better yet, so it is not promoted
    ├── TrainingError         an update cycle cannot continue (no targets, loss not finite)
    ├── PrometheusError       the Prometheus whose alerts are shown does not answer
    └── DemoError             a process of the demo ended early or made no progress

A message carries the value, what was expected, and what to do.
"""

from __future__ import annotations


class AderError(Exception):
    """The root of every error raised on purpose."""


class InputError(AderError):
    """The user's input cannot be used; the command line ends with exit code 2."""


class SettingsError(InputError):
    """A setting is unknown, malformed or contradicts another one."""


class DatasetError(InputError):
    """A data set is missing or malformed."""


class EventTimeError(InputError):
    """Event times, read as the settings say, cannot be the times of clicks."""


class UnreachableError(InputError):
    """No Kafka answers at the given address."""


class SpaceError(AderError):
    """A disk has too little space for what must be written."""


class BrokerError(AderError):
    """A local Kafka could not be started, found or stopped."""


class DecodeError(AderError):
    """A record does not match its schema or format."""


class ClickError(DecodeError):
    """A click cannot be accepted and becomes a dead letter.

    Parameters
    ----------
    reason
        One of `ader_stream.types.DEAD_LETTER_REASONS`.
    message
        What was found and what was expected.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class IgnoredError(DecodeError):
    """A record is no click by the settings: it is counted, and skipped; never a dead letter.

    Parameters
    ----------
    reason
        ``where`` or ``key``: the setting `clicks.where` or `clicks.ignore_keys`; ``empty``: the
        list of `clicks.explode` is empty.
    """

    def __init__(self, reason: str) -> None:
        setting = {"key": "ignore_keys", "empty": "explode"}.get(reason, reason)
        super().__init__(f"ignored by clicks.{setting}")
        self.reason = reason


class NewerSchemaError(DecodeError):
    """A record was written with a schema that this release does not have; update this process."""


class NotYetError(AderError):
    """A record cannot be read yet, because a service that it needs is silent; never a dead letter.

    Parameters
    ----------
    message
        Which service does not answer, and how.
    retry_after
        Seconds after which to try again.
    """

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.offset = -1
        """Offset of the record, once it is known."""


class AuthorizationError(AderError):
    """The cluster refuses a request of this user; the message names the missing right."""


class TopicError(AderError):
    """A topic is missing, or its partitions or settings are not the needed ones."""


class ClientError(AderError):
    """Kafka's client has failed and cannot be used any longer; the caller may try again later."""


class OffsetError(AderError):
    """The log no longer has an offset that is needed."""


class FencedError(AderError):
    """Another process has taken over; this one must stop."""


class NameInUseError(AderError):
    """A group still has a member with this name: a dead one, until its session times out."""


class ArtifactError(AderError):
    """A model artifact cannot be used; the version served before continues to serve.

    Parameters
    ----------
    message
        What was found and what was expected.
    reason
        One of `ader_stream.types.ARTIFACT_REASONS`.
    """

    def __init__(self, message: str, reason: str = "content") -> None:
        super().__init__(message)
        self.reason = reason


class NotBetterError(AderError):
    """A canary is not better yet, so it is not promoted."""


class TrainingError(AderError):
    """An update cycle cannot continue."""


class PrometheusError(AderError):
    """The Prometheus whose alerts the monitor shows does not answer, or not as Prometheus does."""


class DemoError(AderError):
    """A process of the demo ended early or made no progress."""

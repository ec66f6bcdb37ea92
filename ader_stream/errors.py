"""Every error that ader-stream raises on purpose.

::

    AderError                 the root: one clear line, no traceback on the command line
    ├── InputError            what the user gave cannot be used (exit code 2)
    │   ├── SettingsError     a setting is unknown, malformed or contradicts another one
    │   ├── DatasetError      a data set is missing or malformed (names file and line)
    │   ├── EventTimeError    event times that are read as the settings say cannot be right
    │   └── UnreachableError  no Kafka answers at the address that was given
    ├── SpaceError            a disk has no room for what must be written
    ├── BrokerError           a local Kafka could not be started, found or stopped
    ├── DecodeError           a record is not what its schema or format says
    │   └── ClickError        a click that becomes a dead letter; carries the reason
    ├── NotYetError           a record cannot be read yet: what it needs does not answer
    ├── AuthorizationError    the cluster refuses what this user asks for; names the right
    ├── TopicError            a topic is missing, or has not the partitions or settings needed
    ├── ClientError           Kafka's client has failed, and nothing here can do about it
    ├── OffsetError           the log no longer holds an offset that is needed
    ├── FencedError           another process has taken over; this one must stand back
    ├── NameInUseError        a group still has a member of this one's name
    ├── ArtifactError         a model artifact is damaged, incomplete, unsigned or too new
    ├── NotBetterError        a canary that was to be promoted if it is better is not, so far
    ├── TrainingError         an update cycle cannot go on (no targets, not-finite loss)
    └── DemoError             a process of the demo ended early or made no progress

A message carries the value, what was expected, and what to do.
"""

from __future__ import annotations


class AderError(Exception):
    """The root of every error raised on purpose."""


class InputError(AderError):
    """What the user gave cannot be used; the command line ends with exit code 2."""


class SettingsError(InputError):
    """A setting is unknown, malformed or contradicts another one."""


class DatasetError(InputError):
    """A data set is missing or malformed."""


class EventTimeError(InputError):
    """Event times that are read as the settings say cannot be those of clicks."""


class UnreachableError(InputError):
    """No Kafka answers at the address that was given."""


class SpaceError(AderError):
    """A disk has no room for what must be written."""


class BrokerError(AderError):
    """A local Kafka could not be started, found or stopped."""


class DecodeError(AderError):
    """A record is not what its schema or format says."""


class ClickError(DecodeError):
    """A click that cannot be taken and becomes a dead letter.

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


class NotYetError(AderError):
    """A record cannot be read yet, because what it needs does not answer; never a dead letter.

    Parameters
    ----------
    message
        What does not answer, and how.
    retry_after
        Seconds after which to try again.
    """

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.offset = -1
        """The record's own, once it is known."""


class AuthorizationError(AderError):
    """The cluster refuses what this user asks for: a right lacks, which the message names."""


class TopicError(AderError):
    """A topic is missing, or has not the partitions or settings needed."""


class ClientError(AderError):
    """Kafka's client has failed, and nothing here can do about it: what was asked may be again."""


class OffsetError(AderError):
    """The log no longer holds an offset that is needed."""


class FencedError(AderError):
    """Another process has taken over; this one must stand back."""


class NameInUseError(AderError):
    """A group still has a member of this one's name: a dead one, until it is given up."""


class ArtifactError(AderError):
    """A model artifact cannot be used; what was served before goes on.

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
    """A canary that was to be promoted if it is better is not, so far."""


class TrainingError(AderError):
    """An update cycle cannot go on."""


class DemoError(AderError):
    """A process of the demo ended early or made no progress."""

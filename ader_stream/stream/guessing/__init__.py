"""Propose settings for a topic of which nothing is known, from a sample of its records.

::

    contents        the format of the values
    columns         every path in the sample, with the value of each record
    candidates      a path, its score and its evidence; the choice of one
    words           what a name suggests: weak evidence
    times           which path is the event time, in which unit
    keys            which path is the session key
    items           which path is the item
    categories      which records are clicks (clicks.where)
    visits          where a key's clicks break into visits: the gap
    proposal        all of them together, and the clicks that come out
    settings_text   the proposal as a settings file, with the evidence in comments

Every choice is a list of candidates with their scores: what is close to the first is shown beside
it. The scores are of the structure of the values (how often they repeat, where, in which order);
names decide between candidates of the same structure.
"""

from __future__ import annotations

from ader_stream.stream.guessing.contents import Contents, read_contents
from ader_stream.stream.guessing.proposal import Proposal, propose
from ader_stream.stream.guessing.settings_text import settings_text

__all__ = ["Contents", "Proposal", "propose", "read_contents", "settings_text"]

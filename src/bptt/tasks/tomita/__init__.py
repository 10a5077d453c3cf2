"""Tomita's seven regular languages: `languages` has their automata."""

from bptt.tasks.tomita.task import Tomita

__all__ = ["Tomita"]

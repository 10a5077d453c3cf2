"""How many ones a word has, modulo k."""

from bptt.tasks.modulo.task import Modulo

__all__ = ["Modulo"]

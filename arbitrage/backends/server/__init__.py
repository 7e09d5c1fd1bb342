"""Models behind HTTP: process reward models of vLLM and SGLang servers."""

from __future__ import annotations

from arbitrage.backends.server.prm import ServerPrm

__all__ = ["ServerPrm"]

"""Check mode: what the agents of different users on one host pretend, carried from each to the others."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Mapping
from typing import Any

News = dict[str, Any]


class Pretended:
    """The news of each host in their order, and how many of them each of its agents has. Thread-safe."""

    def __init__(self) -> None:
        self._news: dict[str, list[tuple[Hashable, News]]] = {}
        self._heard: dict[Hashable, int] = {}
        self._lock = threading.Lock()

    def learn(self, host: str, agent: Hashable, result: Mapping[str, Any]) -> None:
        """Keep what an agent's result says that it pretends."""
        news = result.get("_shadow")
        if isinstance(news, dict) and news:
            with self._lock:
                self._news.setdefault(host, []).append((agent, news))

    def for_agent(self, host: str, agent: Hashable) -> News:
        """What others have pretended since this agent was last told."""
        with self._lock:
            known = self._news.get(host, [])
            heard, self._heard[agent] = self._heard.get(agent, 0), len(known)
            merged: News = {}
            for teller, news in known[heard:]:
                if teller != agent:
                    merged.update(news)
            return merged

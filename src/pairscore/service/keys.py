"""`KeyRing`: the API keys that open the service, found by their hashes, replaced whole on a reload.

How keys are written down stands in `key_files`, what they may use in `quotas`. Nothing here knows HTTP.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pairscore.errors import SettingError
from pairscore.service.key_files import ApiKey, check_distinct, parse_string, read_file
from pairscore.service.quotas import Clock, Quota, QuotaMeter
from pairscore.service.settings import option

__all__ = ["Entry", "KeyRing"]

_log = logging.getLogger("pairscore.service")


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A key of the ring, and what it has used of its quota."""

    key: ApiKey
    meter: QuotaMeter


class KeyRing:
    """The keys that open the service. It may be used from several threads.

    Args:
        keys_file: a TOML file; None for none.
        api_keys: keys as one string; None for none.
        clock: seconds for the quotas.

    Raises:
        SettingError: the file or the string cannot be read or understood, or holds no key.
    """

    def __init__(
        self,
        *,
        keys_file: str | Path | None = None,
        api_keys: str | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._file = Path(keys_file) if keys_file is not None else None
        self._fixed = parse_string(api_keys) if api_keys is not None else ()
        self._clock = clock
        self._generation = 0
        # A signal's handler may come in the middle of a reload of its own thread.
        self._reloading = threading.RLock()
        # Replaced whole and never changed, so that readers need no lock.
        self._entries: tuple[Entry, ...] = self._with_meters(self._read(), known={})

    @property
    def empty(self) -> bool:
        """Whether no key was configured: then access is open to everybody."""
        return not self._entries

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all keys, the revoked ones too."""
        return tuple(entry.key.name for entry in self._entries)

    def find(self, given: bytes) -> Entry | None:
        """The entry of a key that was given, a revoked one too; None if nobody knows it.

        The given key is hashed and compared with every digest to the last, each in constant time,
        so that the time it takes tells neither how much of a digest was right nor which one it was.
        """
        digest = hashlib.sha256(given).digest()
        found = None
        for entry in self._entries:
            if hmac.compare_digest(digest, entry.key.digest):
                found = entry
        return found

    def reload(self) -> bool:
        """Read the file again; a broken one is logged and leaves the keys as they are.

        What a key has used of its quota stays with its name. Gives whether the new keys were taken.
        """
        with self._reloading:
            self._generation += 1
            mine = self._generation
            try:
                keys = self._read()
            except SettingError as error:
                _log.error("the keys stay as they are: %s", error)
                return False
            # A signal that came meanwhile has read a newer file.
            if mine != self._generation:
                return False
            before = {entry.key.name: entry.meter for entry in self._entries}
            self._entries = self._with_meters(keys, known=before)
        added, removed = set(self.names) - set(before), set(before) - set(self.names)
        _log.info(
            "%d keys loaded again; added: %s; removed: %s; revoked: %s",
            len(keys),
            _listed(added),
            _listed(removed),
            _listed(key.name for key in keys if key.revoked),
        )
        return True

    def _read(self) -> tuple[ApiKey, ...]:
        if self._file is None:
            return self._fixed
        keys = (*self._fixed, *read_file(self._file))
        if not keys:
            # Open access must be asked for by leaving the file away, not by losing its content.
            raise SettingError(
                f"{self._file} holds no key; make one with `pairscore keys new NAME --file "
                f"{self._file}`, or serve without {option('keys_file')}"
            )
        check_distinct(keys)
        return keys

    def _with_meters(
        self, keys: Iterable[ApiKey], *, known: Mapping[str, QuotaMeter]
    ) -> tuple[Entry, ...]:
        return tuple(
            Entry(key=key, meter=_updated(known[key.name], key.quota))
            if key.name in known
            else Entry(key=key, meter=QuotaMeter(key.quota, clock=self._clock))
            for key in keys
        )


def _updated(meter: QuotaMeter, quota: Quota) -> QuotaMeter:
    meter.update(quota)
    return meter


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"

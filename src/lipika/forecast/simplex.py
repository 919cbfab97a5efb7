"""A small linear programme: the most that fits under limits, and of all ways to reach it the cheapest. Pure.

Dozens of variables and rows, so a dense tableau will do. Nothing needs a start to be found: to do nothing fits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lipika.forecast.intervals import Floats

_TINY = 1e-9
_STEPS = 5000
_GREEDY_STEPS = 1000


@dataclass(frozen=True, slots=True)
class Solution:
    """The shares, and by row what one more of its limit would save: 0 where it does not bind."""

    shares: Floats
    total: float
    worth: Floats


def fill_cheapest(costs: Floats, uses: Floats, limits: Floats) -> Solution:
    """Shares x >= 0 with uses @ x <= limits and a sum of 1, or as near to it as can be, at the least costs @ x.

    `limits` are not below 0.
    """
    rows, columns = uses.shape
    scale = np.maximum(np.abs(uses).max(axis=1, initial=0.0), limits)
    scale = np.where(scale > 0, scale, 1.0)
    table = _Tableau(np.vstack([uses / scale[:, None], np.ones(columns)]), np.append(limits / scale, 1.0))
    table.maximise(np.ones(columns), frozenset())
    total = float(table.shares[:columns].sum())
    worth = table.worth(np.ones(columns))
    if total > 1 - 1e-7:
        size = max(float(np.abs(costs).max(initial=0.0)), 1e-300)
        whole = columns + rows  # the slack of the sum, which stays nothing
        table.drive_out(whole)
        table.maximise(-costs / size, frozenset([whole]))
        worth = table.worth(-costs / size)
    return Solution(np.maximum(table.shares[:columns], 0.0), total, worth[:rows])


class _Tableau:
    def __init__(self, uses: Floats, limits: Floats) -> None:
        rows, self._columns = uses.shape
        self._cells = np.hstack([uses, np.eye(rows), limits[:, None]])
        self._basis = list(range(self._columns, self._columns + rows))

    @property
    def shares(self) -> Floats:
        found = np.zeros(self._cells.shape[1] - 1)
        found[self._basis] = self._cells[:, -1]
        return found

    def worth(self, gains: Floats) -> Floats:
        return -self._reduce_gains(gains)[self._columns :]

    def _reduce_gains(self, gains: Floats) -> Floats:
        every = np.append(gains, np.zeros(self._cells.shape[0]))
        reduced: Floats = every - every[self._basis] @ self._cells[:, :-1]
        return reduced

    def drive_out(self, column: int) -> None:
        """Take a variable that is nothing out of the basis, where it could grow again."""
        if column not in self._basis:
            return
        row = self._basis.index(column)
        cells = np.abs(self._cells[row, :-1])
        cells[column] = 0.0
        enters = int(np.argmax(cells))
        if cells[enters] > _TINY:
            self._pivot(row, enters)

    def maximise(self, gains: Floats, banned: frozenset[int]) -> None:
        for step in range(_STEPS):
            reduced = self._reduce_gains(gains)
            reduced[list(banned)] = 0.0
            better = np.flatnonzero(reduced > _TINY)
            if not len(better):
                return
            # The steepest is quickest; the first, with the first row of several, never goes in circles.
            enters = int(better[0] if step > _GREEDY_STEPS else better[np.argmax(reduced[better])])
            column = self._cells[:, enters]
            up = column > _TINY
            if not up.any():
                return
            ratios = np.where(up, self._cells[:, -1] / np.where(up, column, 1.0), np.inf)
            ties = np.flatnonzero(ratios <= ratios.min() + 1e-15)
            leaves = int(min(ties, key=lambda row: self._basis[row]))
            self._pivot(leaves, enters)

    def _pivot(self, row: int, column: int) -> None:
        self._cells[row] /= self._cells[row, column]
        others = self._cells[:, column].copy()
        others[row] = 0.0
        self._cells -= np.outer(others, self._cells[row])
        np.maximum(self._cells[:, -1], 0.0, out=self._cells[:, -1])
        self._basis[row] = column

"""The budget of a study: how long to search, and where."""

from __future__ import annotations

from hedonic.data.contract import Contract, Family, Frozen, Search
from hedonic.errors import UserError


class Budget(Frozen):
    """How long to search, and where: a number of trials, which repeats; a time, which does not."""

    trials: int
    time_s: float | None = None
    families: tuple[Family, ...] | None = None

    def narrow(self, contract: Contract) -> Search:
        """Return the contract's search over the budget's families.

        Raises:
            UserError: the contract has no space for a family that is asked for.
        """
        search = contract.search
        if self.families is None:
            return search
        unknown = [family for family in self.families if family not in search.families]
        if unknown or not self.families:
            raise UserError(
                f"{contract.name}: search.families has no {', '.join(unknown) or 'family to search'}. "
                f"Choose from {', '.join(search.families)}, or add it to the contract."
            )
        return search.model_copy(update={"families": {f: search.families[f] for f in self.families}})

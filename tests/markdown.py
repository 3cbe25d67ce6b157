"""The commands that our documents give."""

from __future__ import annotations

import re


def bash_blocks(text: str) -> list[str]:
    """Return the content of every ``bash`` block."""
    return re.findall(r"^```bash\n(.+?)^```$", text, re.MULTILINE | re.DOTALL)

"""Random manifests as people write them: block and flow, comments, blank lines, any indentation."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from hypothesis import strategies as st

# ruff: noqa: E501

HOSTILE = [
    "", " ", "\n", "\n\n", "a", "yes", "No", "on", "~", "null", "true", "1", "1e3", "0x1f", "017", "1_000", "-.5",
    ".inf", "1:30", "2024-01-02", "a: b", "a:", ": a", "a #b", "# a", "- a", "-", "---", "--- a", "...", "? a",
    "a\nb", "a\nb\n", "a\n\n", "\na\n", "\n\n a\n", "  a\n b", "\ta\n", "a\t\nb", "a \nb \n", "a\n  ", "a\n  \n",
    "a\n---\nb\n", "a\n...\n", "# a\nb\n", "- a\n- b", "a: b\nc: d\n", "a\r\nb", "a\rb", "a\u2028b\n", "a\x85b", "\ufeffa",
    "👩\u200d💻 ok", "é ü\n😀\n", "\u00a0a\nb", "\x07", "\x7f", "it's", '"', "'", "\\", "\\n", "{a}", "[a]", "a, b", "a]",
    "&a", "*a", "!a", "%a", "@a", "`a", "|", ">", "|\n  a", "<<", "=", "http://x/y?z=1#w", "ENC[AES256_GCM,data:x]",
    "x" * 3000, "word " * 400, ("line " * 30 + "\n") * 20, "\U0010fffd", "\ue000", "a\u200eb", "日本語", "٣",
]  # fmt: skip

texts = st.sampled_from(HOSTILE) | st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12
)
names = st.sampled_from(["a", "b", "c", "name", "llm", "k e y", "sops"]) | texts.filter(
    lambda one: len(one) < 900
)
scalars = (
    texts | st.booleans() | st.none() | st.integers(-(1 << 63), (1 << 63) - 1) | st.floats(allow_nan=False, allow_infinity=False)
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)
documents = st.dictionaries(names, values, min_size=1, max_size=6)
randoms = st.integers(0, 1 << 32).map(Random)


class Author:
    """Writes a value as some person might; every choice comes from ``random``."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.step = random.choice((2, 2, 2, 3, 4))
        self.dash = random.choice((2, 0, 4))
        self.newline = random.choice(("\n", "\n", "\n", "\r\n"))

    def document(self, value: dict[str, Any]) -> str:
        """A whole file."""
        head = self.random.choice(("", "", "# head\n", "# head\n\n", "---\n", "# head\n---\n# c\n", "\n"))
        tail = self.random.choice(("", "", "# end\n", "\n\n", "\n# end\n", "...\n"))
        style = self.random.random()
        body = self.mapping(value, 0) if value and style < 0.9 else self.flow(value, wide=style < 0.95) + "\n"
        text = head + body + tail
        text = text.rstrip("\n") if self.random.random() < 0.15 else text
        return text.replace("\n", self.newline)

    def noise(self, column: int) -> str:
        """Lines that say nothing to a parser."""
        at = " " * self.random.choice((column, column, column, 0, column + 2))
        return self.random.choice(
            (
                "",
                "",
                "",
                "",
                "\n",
                "\n\n",
                f"{at}# about: this\n",
                f"\n{at}# two\n{at}# lines\n",
                f"{at}# a\n\n",
            )
        )

    def tail(self) -> str:
        return self.random.choice(("", "", "", "", "  # tail", "   ", " # it's: x"))

    def mapping(self, value: dict[str, Any], column: int) -> str:
        pairs = []
        for name, item in value.items():
            space = self.random.choice(("", "", "", " ")) + ":"
            pairs.append(
                f"{self.noise(column)}{' ' * column}{self.key(name)}{space}{self.behind(item, column)}"
            )
        return "".join(pairs)

    def elements(self, value: list[Any], column: int) -> str:
        lines = []
        for item in value:
            lines.append(f"{self.noise(column)}{' ' * column}-")
            if isinstance(item, dict | list) and item and self.random.random() < 0.7:
                space = self.random.choice((1, 1, 1, 3))
                inner = self.mapping if isinstance(item, dict) else self.elements
                body = inner(item, column + 1 + space).lstrip("\n ")
                while body.startswith("#"):
                    body = body.partition("\n")[2].lstrip("\n ")
                lines.append(" " * space + body)
            else:
                lines.append(self.behind(item, column))
        return "".join(lines)

    def behind(self, item: Any, column: int) -> str:
        if isinstance(item, dict | list) and item and self.random.random() < 0.75:
            if isinstance(item, dict):
                return f"{self.tail()}\n{self.mapping(item, column + self.step)}"
            return f"{self.tail()}\n{self.elements(item, column + (self.dash or 2))}"
        if isinstance(item, str) and self.random.random() < 0.7 and (block := self.block(item, column)):
            return block
        if isinstance(item, dict | list) and item and self.random.random() < 0.4:
            return f" {self.flow(item, column + 2, wide=True)}{self.tail()}\n"
        source = self.scalar(item)
        return (
            f"{' ' * self.random.choice((1, 1, 1, 3))}{source}{self.tail()}\n"
            if source
            else f"{self.tail()}\n"
        )

    def block(self, text: str, column: int) -> str:
        if not text.strip() or any(not (c.isprintable() or c == "\n") for c in text) or text[0] in " \n":
            return ""
        bare = text.rstrip("\n")
        chomp = {0: "-", 1: ""}.get(len(text) - len(bare), "+")
        pad = " " * (column + self.step)
        lines = (text[:-1] if text.endswith("\n") else text).split("\n")
        blank = "" if chomp == "+" else self.random.choice(("", "", "\n"))
        return (
            f" |{chomp}{self.tail()}\n" + "".join(f"{pad + line if line else ''}\n" for line in lines) + blank
        )

    def key(self, name: str) -> str:
        return (
            name if name.isascii() and name.isalpha() and name not in {"null", "true"} else self.quoted(name)
        )

    def scalar(self, item: Any) -> str:
        if isinstance(item, str):
            plain = item.isascii() and item.isalpha() and item not in {"null", "true"}
            choices = [self.quoted(item), *([item] * 3 if plain else [])]
            if item.isprintable():
                choices.append("'" + item.replace("'", "''") + "'")
            return self.random.choice(choices)
        if item is None:
            return self.random.choice(("", "~", "null"))
        return self.flow(item)

    def quoted(self, text: str) -> str:
        return "".join(
            c if c.isprintable() else f"\\U{ord(c):08x}" for c in json.dumps(text, ensure_ascii=False)
        )

    def flow(self, item: Any, column: int = 2, *, wide: bool = False) -> str:
        """``wide``: an entry to a line."""
        line = f"\n{' ' * column}" if wide else ""
        comma = self.random.choice((",", ",", "," if not wide else ", # c"))
        if isinstance(item, dict):
            inner = [f"{self.quoted(name)}: {self.flow(one, column + 2)}" for name, one in item.items()]
            brackets = "{}"
        elif isinstance(item, list):
            inner, brackets = [self.flow(one, column + 2) for one in item], "[]"
        else:
            return self.quoted(item) if isinstance(item, str) else json.dumps(item)
        between = comma + (line or " ")
        last = self.random.choice(("", "", ",", " ")) if inner else ""
        return f"{brackets[0]}{line}{between.join(inner)}{last}{line}{brackets[1]}"


def edited(random: Random, value: Any, fresh: list[Any]) -> Any:
    """``value`` after a few changes here and there; new parts come from ``fresh``."""
    if not isinstance(value, dict | list) or not value or random.random() < 0.1:
        return random.choice(fresh) if random.random() < 0.4 else value
    if isinstance(value, list):
        out = [edited(random, one, fresh) for one in value if random.random() > 0.2]
        if random.random() < 0.3:
            out.insert(random.randint(0, len(out)), random.choice(fresh))
        return out
    pairs = [(name, edited(random, one, fresh)) for name, one in value.items() if random.random() > 0.2]
    if random.random() < 0.4:
        name = random.choice(("new", "a", "1", "llm", "a: b"))
        if name not in value:
            pairs.insert(random.randint(0, len(pairs)), (name, random.choice(fresh)))
    return dict(pairs)

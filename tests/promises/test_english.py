"""The documents are in plain English: no sentence is long, and none has an archaic word."""

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PAGES = sorted(str(path.relative_to(PROJECT)) for path in (*PROJECT.glob("*.md"), *PROJECT.glob("docs/*.md")))
LONGEST = 35
"""Most words in a sentence; inline code counts as one."""

ARCHAIC = re.compile(
    r"\b(mend(s|ed)?|anew|heed(s|ed)?|whoever|whatever|lies?|stands?(?! for|-)|alter(s|ed)?|takes up|of late"
    r"|be it|but for|none but|so that none|as (does|do))\b",
    re.IGNORECASE,
)
ASKING = {"asks", "explains", "know", "knows", "say", "says", "see", "show", "shows", "tell", "tells"}
"""Verbs before an indirect question; elsewhere `what` makes a vague noun: `what it is made of` for its parts."""


def sentences(text):
    """Returns the sentences of a page, without code blocks, tables, comments and the targets of links."""
    text = re.sub(r"^```.*?^```$|^\|.*?$|^    .*?$|<!--.*?-->", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"`[^`]+`", "CODE", text)
    text = re.sub(r"\[[^] ]*\]\(.*?\)", "LINK", text)
    text = re.sub(r"\[([^]]*)\]\(.*?\)", r"\1", text)
    paragraphs = re.split(r"\n\s*\n|\n(?=[-*] )", text)
    ends = re.compile(r"([.?!][)\"*]*) (?=[(\"*]*[A-Z\d])")
    return [one for paragraph in paragraphs for one in ends.sub(r"\1\n", " ".join(paragraph.split())).splitlines()]


def faults(sentence):
    """Returns what is wrong with a sentence."""
    found = [match[0] for match in ARCHAIC.finditer(sentence)]
    if not sentence.endswith("?"):
        before = re.findall(r"(\w*)\W*\bwhat\b", sentence, re.IGNORECASE)
        found += [f"{word} what".strip() for word in before if word not in ASKING]
    words = sum(any(map(str.isalnum, word)) for word in sentence.split())
    return [*found, f"{words} words"] if words > LONGEST else found


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_in_plain_english(page):
    found = {sentence: wrong for sentence in sentences((PROJECT / page).read_text()) if (wrong := faults(sentence))}
    assert not found, "\n".join(f"{wrong}: {sentence}" for sentence, wrong in found.items())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# A title\n\nOne. Two (of 2.5).\n", [[], [], []]),
        (f"- {'word ' * 34}`two words`.\n- {'word ' * 35}[a link](of one).\n", [[], ["37 words"]]),
        ("Nobody mends it. It runs\nanew.\n", [["mends"], ["anew"]]),
        ("It stands for that. It stands there.", [[], ["stands"]]),
        ("It says what it is. What is it? It is what it is.", [[], [], ["is what"]]),
        ("```\nmend\n```\n\n| mend |\n\nFine, `mend`.\n", [[]]),
    ],
)
def test_the_checks_of_a_sentence_find_what_they_look_for(text, expected):
    assert [faults(sentence) for sentence in sentences(text) if sentence] == expected

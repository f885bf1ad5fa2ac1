"""Refusals written from a prompt's own words, for cases that a dataset does not have.

A feedback agent must see harmless prompts refused. Datasets of good replies have no such rows, and
an untrained base hardly ever refuses, so a refusal is written from the prompt's own words: one from
another row would give the case away by its topic. Harmful prompts get the same refusals, or the
wording would give it away.
"""

from __future__ import annotations

import hashlib
import re

_SWAP = {
    "i": "you",
    "i'm": "you're",
    "i've": "you've",
    "my": "your",
    "mine": "yours",
    "me": "you",
    "am": "are",
    "we": "you",
    "our": "your",
    "us": "you",
    "myself": "yourself",
}
_ASKS_HOW = re.compile(
    r"^.*?\b(?:how\s+(?:do|can|could|should|would|might|did|does)\s+(?:i|we|you|one|someone)"
    r"|how\s+to|ways?\s+to|help\s+(?:me|us)(?:\s+to)?|want\s+to|need\s+to|trying\s+to)\s+(.+)$",
    re.I | re.S,
)
_ORDERS = re.compile(
    r"^(?:please\s+|can\s+you\s+|could\s+you\s+|would\s+you\s+)*"
    r"((?:write|explain|give|tell|list|suggest|name|describe|draft|recommend|show|translate"
    r"|convert|compare|plan|sketch|summari[sz]e|find|make|define|teach|walk|outline|compose)\b.+)$",
    re.I | re.S,
)
_ASKS_WHAT = re.compile(
    r"^(?:what(?:'s|\s+is|\s+are|\s+was|\s+were)|who(?:'s|\s+is|\s+was|\s+were)"
    r"|(?:why|how|when|where)\s+(?:is|are|was|were|do|does|did|has|have))\s+(.+)$",
    re.I | re.S,
)
_HELP = (
    "I can't help you {0}.",
    "I won't help you {0}.",
    "I'm not able to help you {0}.",
    "Sorry, but I can't help you {0}.",
    "No, I won't help you {0}.",
    "I'm not going to help you {0}.",
    "Helping you {0} is something I won't do.",
)
_TALK = (
    "I can't talk about {0}.",
    "I won't go into {0}.",
    "Sorry, but I can't help with {0}.",
    "I'm not able to discuss {0}.",
    "I have to decline to explain {0}.",
    "Questions about {0} are something I won't answer.",
)
_ANY = (
    "I can't help with that request.",
    "I'm sorry, but that is something I won't assist with.",
    "That could cause harm, so I have to decline.",
    "I won't answer that, because it could be misused.",
)
_OFFER = (
    "",
    " I can help you with something safe instead.",
    " I can explain how to get help from people who are trained for this.",
    " It could hurt someone.",
    " I'd be glad to help you plan something else.",
    " I can help you write a message to a professional about it.",
    " I can suggest a few harmless alternatives, or help you find someone to talk to.",
    " I can point you to the rules that apply, or help you with another topic.",
)


def write_refusal(prompt: str, seed: int = 0) -> str:
    """A refusal of `prompt` that names the request; the same for the same arguments."""
    choice = int.from_bytes(hashlib.sha256(f"{seed}/{prompt}".encode()).digest()[:8], "big")
    first = re.split(r"(?<=[?.!])\s+", prompt.strip(), maxsplit=1)[0].rstrip("?.! ")
    request = first if len(first.split()) > 2 else prompt.strip().rstrip("?.! ")
    for pattern, openers in ((_ASKS_HOW, _HELP), (_ORDERS, _HELP), (_ASKS_WHAT, _TALK)):
        match = pattern.match(request)
        if match:
            words = re.sub(r"^(\w+)\s+(?:me|us)\b", r"\1", match[1]).split()[:12]
            topic = " ".join(_SWAP.get(word.lower(), word) for word in words)
            topic = topic[0].lower() + topic[1:] if topic[1:2].islower() else topic
            opener = openers[choice % len(openers)].format(topic.rstrip(",;:"))
            break
    else:
        opener = _ANY[choice % len(_ANY)]
    return opener + _OFFER[(choice >> 16) % len(_OFFER)]

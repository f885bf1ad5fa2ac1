"""The waltz of a reply: prompts, verdicts, events, and watching a growing draft."""

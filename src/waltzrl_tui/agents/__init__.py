"""The two agents: their prompts, the feedback agent's verdicts, chat endpoints, and the waltz."""

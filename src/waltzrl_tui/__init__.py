"""waltzrl-tui: align a conversation agent and a feedback agent from one terminal."""

__version__ = "0.1.0"

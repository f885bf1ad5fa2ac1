"""Jobs at providers: launched, watched, and what comes after, through crashes and lost answers."""

"""How safe a pair is and how timid: prompts run through the waltz, judged, counted."""

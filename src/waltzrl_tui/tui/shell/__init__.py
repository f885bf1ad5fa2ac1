"""The app itself: screens, bars, keys, themes, help."""

"""Dialogs and fields that several screens share."""

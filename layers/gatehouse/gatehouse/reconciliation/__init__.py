"""Asks each gateway what happened, and fetches what was never heard of: an event that was not sent is found here."""

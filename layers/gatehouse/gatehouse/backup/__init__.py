"""The second database: every payment written there too, compared, filled, restored from, and read when it must be."""

"""The one exception that a user's mistake raises: its text is the whole message they see."""


class ConvertError(Exception):
    """One clear line: what is wrong, where, and what to do."""

"""Recordings and graphs of others are read and written here, as text: whoever opens files is above.

A malformed text is refused with a FormatError that names the line or the key at fault; a cycle is named.
"""

"""Others' recordings and graphs, read and written. Pure: text in, graph out; whoever opens files is above.

A malformed text is refused with a FormatError that names the line or the key at fault; a cycle is named.
"""

"""Floor 0: values, errors, options, codecs and traces."""

"""A client's side of the wire: what drivers and workers post, ask and are told."""

"""What all experiments share: `study` says what was run and keeps what it found, `drawing` is how figures look."""

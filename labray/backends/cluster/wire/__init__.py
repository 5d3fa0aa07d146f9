"""What the processes of a session say to each other (frames, control messages), and over which sockets."""

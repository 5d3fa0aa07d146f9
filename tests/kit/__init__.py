"""What tests share: worlds to drive a node in, drawn programs, and what a session leaves behind."""

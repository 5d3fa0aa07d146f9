"""What a node does when workers or places are lost, memory is short, tasks wait in a cycle, or a client miscounts."""
